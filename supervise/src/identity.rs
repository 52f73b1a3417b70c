//! Whom a process becomes. Only looking it up; becoming it is `confine`'s.

use std::path::PathBuf;

use nix::unistd::User;

use crate::Error;

/// The user and group a process is to run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id, also the only supplementary group.
    pub gid: u32,
    /// The user's home, which is an empty directory for a user that exists to own nothing.
    pub home: Option<PathBuf>,
}

impl Identity {
    /// An identity without an entry in the user database.
    pub fn numeric(uid: u32, gid: u32) -> Identity {
        Identity { uid, gid, home: None }
    }
}

/// Looks up a user by name in the user database; `UID:GID`, both numbers, is taken as it stands.
///
/// # Errors
/// There is no such user, or the database cannot be read. Nothing is assumed in its place.
pub fn user(name: &str) -> Result<Identity, Error> {
    if let Some((uid, gid)) = name.split_once(':') {
        return match (uid.parse(), gid.parse()) {
            (Ok(uid), Ok(gid)) => Ok(Identity::numeric(uid, gid)),
            _ => Err(Error::says(format!("user {name}: not of the form UID:GID"))),
        };
    }
    match User::from_name(name) {
        Ok(Some(user)) => {
            Ok(Identity { uid: user.uid.as_raw(), gid: user.gid.as_raw(), home: Some(user.dir) })
        }
        Ok(None) => Err(Error::says(format!("user {name}: no such user"))),
        Err(errno) => Err(Error::system(format!("look up user {name}"), errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_up_names_and_takes_numbers() {
        assert_eq!(user("root").expect("root").uid, 0);
        assert_eq!(user("65533:65532").expect("numbers"), Identity::numeric(65533, 65532));
        let unknown = user("no-such-user-here").expect_err("unknown");
        assert_eq!(unknown.to_string(), "user no-such-user-here: no such user");
        for bad in ["1:", ":1", "a:b", "1:-1", "99999999999:1"] {
            assert!(user(bad).is_err(), "{bad}");
        }
    }
}
