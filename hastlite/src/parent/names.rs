//! Names of other nodes, looked up while nobody waits: a name server that does not answer takes many
//! seconds, and the parent has other resources, hastctl(8) and signals to see to (H12). A thread
//! looks a name up; what it found serves until something newer is found.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

/// How old an answer may be that is used without another question.
const FRESH: Duration = Duration::from_secs(5);

/// What a name stands for, with any port.
type Found = io::Result<Vec<SocketAddr>>;

struct Entry {
    /// Of the last question that was answered with any; what a name server does not tell any more
    /// may still be there, and it may be away just as the other node is.
    addresses: Vec<SocketAddr>,
    /// Why the last question was not.
    trouble: Option<String>,
    /// When it was asked; a question is under way.
    asked: Instant,
    asking: bool,
}

/// Why there is no address.
#[derive(Debug, PartialEq, Eq)]
pub enum Missing {
    /// The first question is under way.
    NotYet,
    /// This was tried, and failed.
    Failed(String),
}

impl From<String> for Missing {
    fn from(why: String) -> Self {
        Missing::Failed(why)
    }
}

/// All that were asked for.
pub struct Names {
    entries: HashMap<String, Entry>,
    look_up: fn(&str) -> Found,
    answers: Receiver<(String, Found)>,
    answer: Sender<(String, Found)>,
}

impl Default for Names {
    fn default() -> Self {
        Self::new(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }
}

impl Names {
    fn new(look_up: fn(&str) -> Found) -> Self {
        let (answer, answers) = mpsc::channel();
        Names { entries: HashMap::new(), look_up, answers, answer }
    }

    /// What is known of a name; a question is asked if that is old.
    ///
    /// # Errors
    /// Nothing is known yet, or nothing could be found: worth another call in a while.
    pub fn get(&mut self, name: &str) -> Result<&[SocketAddr], Missing> {
        self.take_answers();
        let now = Instant::now();
        if !self.entries.contains_key(name) {
            let entry = Entry { addresses: Vec::new(), trouble: None, asked: now, asking: false };
            self.entries.insert(name.to_owned(), entry);
        }
        let Some(entry) = self.entries.get_mut(name) else { return Err(Missing::NotYet) };
        let known = !entry.addresses.is_empty() || entry.trouble.is_some();
        let fresh = known && now < entry.asked + FRESH;
        if !entry.asking && !fresh {
            entry.asked = now;
            entry.asking = true;
            let (asked, look_up, answer) = (name.to_owned(), self.look_up, self.answer.clone());
            let thread = std::thread::Builder::new().name("names".to_owned()).spawn(move || {
                let found = look_up(&asked);
                // Whoever asked may have ended.
                let _ = answer.send((asked, found));
            });
            if let Err(error) = thread {
                entry.asking = false;
                entry.trouble = Some(format!("start a thread: {error}"));
            }
        }
        match (&entry.addresses[..], &entry.trouble) {
            ([], Some(trouble)) => Err(format!("look up {name}: {trouble}").into()),
            ([], None) => Err(Missing::NotYet),
            (addresses, _) => Ok(addresses),
        }
    }

    fn take_answers(&mut self) {
        while let Ok((name, found)) = self.answers.try_recv() {
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            entry.asking = false;
            entry.trouble = match found {
                Ok(addresses) if !addresses.is_empty() => {
                    entry.addresses = addresses;
                    None
                }
                Ok(_) => Some("no such address".to_owned()),
                Err(error) => Some(error.to_string()),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// What the name server says, one after the other; while there is nothing it does not answer.
    static SERVER: Mutex<Vec<&str>> = Mutex::new(Vec::new());

    fn slow(_: &str) -> Found {
        loop {
            match SERVER.lock().unwrap().pop() {
                Some("") => return Err(io::ErrorKind::TimedOut.into()),
                Some(address) => return Ok(vec![address.parse().unwrap()]),
                None => std::thread::park_timeout(Duration::from_millis(1)),
            }
        }
    }

    #[test]
    fn h12_nobody_waits_for_a_name_server() {
        let mut names = Names::new(slow);
        // This would not come back if it waited.
        assert_eq!(names.get("other"), Err(Missing::NotYet));
        assert_eq!(names.get("other"), Err(Missing::NotYet));
        SERVER.lock().unwrap().push("10.0.0.1:0");
        let limit = Instant::now() + Duration::from_secs(20);
        while names.get("other").is_err() {
            assert!(Instant::now() < limit);
        }
        let first: Vec<SocketAddr> = vec!["10.0.0.1:0".parse().unwrap()];
        assert_eq!(names.get("other"), Ok(&first[..]));

        // It is away: what it said once holds.
        let old = |names: &mut Names| {
            names.entries.get_mut("other").unwrap().asked -= FRESH;
        };
        old(&mut names);
        assert_eq!(names.get("other"), Ok(&first[..]));
        SERVER.lock().unwrap().push("");
        while names.entries["other"].asking {
            assert!(Instant::now() < limit);
            assert_eq!(names.get("other"), Ok(&first[..]));
        }
        assert!(names.entries["other"].trouble.is_some());

        // It is back, and says something else.
        SERVER.lock().unwrap().push("10.0.0.2:0");
        old(&mut names);
        while names.get("other") == Ok(&first[..]) {
            assert!(Instant::now() < limit);
        }
        assert_eq!(names.get("other").unwrap()[0], "10.0.0.2:0".parse().unwrap());
    }
}
