//! The two roles over loopback, with small disks in memory, as most tests begin.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use super::disk::first_difference;
use super::{Disk, Primary, Secondary, SharedDisk, primary, secondary};

/// Longer than anything here takes.
pub const SOON: Duration = Duration::from_secs(20);
/// Small, so that there are some of them.
pub const EXTENT: u32 = 64 << 10;
/// Bytes of the data: the last extent is not whole.
pub const SIZE: u64 = 10 * EXTENT as u64 + 512;

/// A new disk of resource `data`.
pub fn disk() -> SharedDisk {
    Disk::memory("data", SIZE, EXTENT).shared()
}

/// A secondary over that disk.
pub fn listen(config: secondary::Config, disk: &SharedDisk) -> Secondary {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind to loopback");
    Secondary::start(listener, config, disk.clone())
}

/// For a primary of that secondary.
pub fn config(secondary: &Secondary) -> primary::Config {
    toward(secondary.address())
}

fn toward(remote: SocketAddr) -> primary::Config {
    primary::Config { timeout: Duration::from_secs(5), ..primary::Config::new("data", remote) }
}

/// A secondary and a primary that have met, both new.
pub fn pair(
    change: impl FnOnce(&mut secondary::Config, &mut primary::Config),
) -> (Primary, Secondary) {
    let mut of_secondary = secondary::Config::new("data");
    // Its address comes when there is one.
    let mut of_primary = toward(SocketAddr::from(([127, 0, 0, 1], 1)));
    change(&mut of_secondary, &mut of_primary);
    let secondary = listen(of_secondary, &disk());
    of_primary.remote = secondary.address();
    let resync = of_primary.resync;
    let primary = Primary::start(of_primary, disk());
    primary.connect().expect("connect over loopback");
    if resync {
        synced(&primary);
    }
    (primary, secondary)
}

/// Waits for the end of the resync.
pub fn synced(primary: &Primary) {
    primary.wait("synchronised", SOON, |status| status.synced);
}

/// Waits for what is in flight; then both must have the same.
///
/// # Panics
/// If they have not.
pub fn same(primary: &Primary, secondary: &Secondary) {
    primary.wait("all answered", SOON, |status| status.outstanding == 0);
    assert_eq!(first_difference(primary.disk(), secondary.disk()), None);
}
