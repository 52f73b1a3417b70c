//! Our descendants, found by going down from us, and killed on the way. Nobody else is.
//!
//! A number in /proc may be another process's by the time it is used. So a process is held by a
//! pidfd before it is asked who its parent is; the parent is held by one that still means the
//! parent after that answer; and so on up to us. Who has once been the child of a descendant is a
//! descendant for ever, so the links need not have existed all at the same moment.

use std::collections::HashMap;
use std::ffi::c_int;
use std::fs;
use std::rc::Rc;

use nix::errno::Errno;

use crate::handle::Handle;
use crate::procfs::{self, Stat};

/// How far down from us one walk goes, and so how many descriptors it holds. What is deeper comes
/// nearer when those above it have died.
const DEPTH: usize = 64;

/// A descendant that has not ended.
#[derive(Debug)]
pub(super) struct Alive {
    pub(super) pid: i32,
    pub(super) name: String,
    pub(super) handle: Rc<Handle>,
}

/// Sends SIGKILL to every descendant that is found alive, parents first, so that they cannot
/// replace their children. Not all are returned, only so many as may well be held at once; none
/// only if none was found.
pub(super) fn kill() -> Vec<Alive> {
    let mut alive: Vec<Alive> = Vec::new();
    visit(&mut |found| {
        // Failures show: it will be found again.
        let _ = found.handle.kill(libc::SIGKILL);
        if alive.len() < DEPTH {
            alive.push(found);
        }
    });
    alive
}

/// The descendants that are alive.
pub(super) fn list() -> Vec<(i32, String)> {
    let mut all = Vec::new();
    visit(&mut |found| all.push((found.pid, found.name)));
    all
}

/// Whether we have no child, dead or alive. Then we have no descendants at all: whoever loses its
/// parent becomes our child at that very moment.
pub(super) fn childless() -> bool {
    // SAFETY: an all-zero siginfo_t is a valid one.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let kinds = libc::WEXITED | libc::WSTOPPED | libc::WCONTINUED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is a live siginfo_t to be filled, the rest are numbers; WNOWAIT leaves
    // everything as it is.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, &mut info, kinds | libc::__WALL as c_int) };
    result != 0 && Errno::last() == Errno::ECHILD
}

/// Calls `visitor` for each that is alive.
fn visit(visitor: &mut dyn FnMut(Alive)) {
    let us = std::process::id().cast_signed();
    let mut children = Children::new();
    // One entry a level: whose children they are, which is proved; and those still to be seen.
    let mut levels: Vec<(i32, Option<Rc<Handle>>, Vec<i32>)> = vec![(us, None, children.of(us))];
    while let Some((parent, held, rest)) = levels.last_mut() {
        let Some(pid) = rest.pop() else {
            levels.pop();
            continue;
        };
        let Some((handle, stat)) = prove(pid, *parent, held.as_deref()) else { continue };
        // A leader that has ended while other threads run looks like a zombie, and is none.
        if stat.ended() && procfs::numbers(&format!("{pid}/task")).len() < 2 {
            continue;
        }
        let handle = Rc::new(handle);
        visitor(Alive { pid, name: stat.name, handle: Rc::clone(&handle) });
        if levels.len() < DEPTH {
            levels.push((pid, Some(handle), children.of(pid)));
        }
    }
}

/// Takes hold of `pid`, if it is a child of `parent`, which is a descendant of ours held by
/// `held`, or is ourselves.
fn prove(pid: i32, parent: i32, held: Option<&Handle>) -> Option<(Handle, Stat)> {
    let handle = Handle::open(pid).ok()?;
    let stat = procfs::stat(pid)?;
    let child = stat.parent == parent;
    // Both numbers meant these two when the question was answered, for they still do.
    (child && handle.exists() && held.is_none_or(Handle::exists)).then_some((handle, stat))
}

/// Who has which children. The kernel may have been built without the file that says so; then
/// every process is asked for its parent, once.
struct Children {
    all: Option<HashMap<i32, Vec<i32>>>,
}

impl Children {
    fn new() -> Children {
        Children { all: None }
    }

    fn of(&mut self, pid: i32) -> Vec<i32> {
        let told = if self.all.is_none() { told(pid) } else { None };
        told.unwrap_or_else(|| self.asked().get(&pid).cloned().unwrap_or_default())
    }

    fn asked(&mut self) -> &HashMap<i32, Vec<i32>> {
        self.all.get_or_insert_with(|| {
            let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
            for pid in procfs::numbers("") {
                if let Some(stat) = procfs::stat(pid) {
                    children.entry(stat.parent).or_default().push(pid);
                }
            }
            children
        })
    }
}

/// The children of each thread of a process; `None` if the kernel does not tell.
fn told(pid: i32) -> Option<Vec<i32>> {
    let mut children = Vec::new();
    for thread in procfs::numbers(&format!("{pid}/task")) {
        match fs::read_to_string(format!("/proc/{pid}/task/{thread}/children")) {
            Ok(text) => {
                let numbers = text.split_ascii_whitespace();
                children.extend(numbers.filter_map(|word| word.parse::<i32>().ok()));
            }
            // A thread that has ended meanwhile has passed its children on.
            Err(_) if procfs::stat(thread).is_none() => {}
            Err(_) => return None,
        }
    }
    Some(children)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_find_children_agree() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let pid = child.id().cast_signed();
        let us = std::process::id().cast_signed();
        let told = told(us);
        let asked = Children::new().asked().get(&us).cloned();
        let proved = [us, 1].map(|parent| prove(pid, parent, None).is_some());
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert!(told.is_none_or(|told| told.contains(&pid)));
        assert!(asked.expect("children").contains(&pid));
        assert_eq!(proved, [true, false]);
        assert!(prove(pid, us, None).is_none(), "reaped");
    }
}
