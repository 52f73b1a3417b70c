//! A kernel in small, with the knotes of both kinds, and a tree that forks and ends at random in
//! it: whatever the decoder says of parents and ends is compared with what really happened.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// The process at this place of the living forks.
    Fork(usize),
    Exec(usize),
    Exit(usize, i32),
    /// What the last look wanted to be registered is.
    Register,
    /// The queue is looked at; which zombies are still there is decided by the bits.
    Look(u32),
}

struct Process {
    parent: usize,
    pid: i32,
    udata: u64,
    status: Option<i32>,
}

struct Kernel {
    /// One kevent for a child's beginning and its end, if nobody reads it in between.
    merges: bool,
    all: Vec<Process>,
    queue: Vec<(usize, Note)>,
    acts: Vec<Act>,
    next: i32,
}

impl Kernel {
    fn living(&self, at: usize) -> Option<usize> {
        let living: Vec<usize> =
            (0..self.all.len()).filter(|&it| self.all[it].status.is_none()).collect();
        living.get(at % living.len().max(1)).copied()
    }

    /// Merges into what is queued, but not into a knote of one shot.
    fn post(&mut self, process: usize, fflags: u32, data: Option<i64>) {
        let (pid, udata) = (self.all[process].pid, self.all[process].udata);
        let merges = self.merges;
        let shot = |note: &Note| !merges && note.fflags & NOTE_CHILD != 0;
        let queued = self.queue.iter_mut().find(|(whose, note)| *whose == process && !shot(note));
        if let Some((_, note)) = queued {
            note.fflags |= fflags;
            note.data = data.unwrap_or(note.data);
        } else {
            let data = data.unwrap_or(0);
            self.queue.push((process, Note { pid, fflags, data, udata, looked: None }));
        }
    }

    fn fork(&mut self, parent: usize) {
        // Numbers come again, but not while somebody has them or the queue has.
        let pid = loop {
            self.next = 101 + (self.next - 100) % 30;
            let used = |it: &Process| it.pid == self.next && it.status.is_none();
            let queued = self.queue.iter().any(|(_, note)| note.pid == self.next);
            if !self.all.iter().any(used) && !queued {
                break self.next;
            }
        };
        let udata = self.all[parent].udata;
        self.all.push(Process { parent, pid, udata, status: None });
        self.post(self.all.len() - 1, NOTE_CHILD, Some(self.all[parent].pid.into()));
        self.post(parent, NOTE_FORK, None);
    }

    fn register(&mut self) {
        for act in std::mem::take(&mut self.acts) {
            if let Act::Register { pid, udata } = act
                && let Some(it) =
                    self.all.iter_mut().find(|it| it.pid == pid && it.status.is_none())
            {
                it.udata = udata;
                for (_, note) in self.queue.iter_mut().filter(|(_, note)| note.pid == pid) {
                    note.udata = udata;
                }
            }
        }
    }

    fn is_ancestor(&self, above: usize, mut below: usize) -> bool {
        while below != 0 {
            below = self.all[below].parent;
            if below == above {
                return true;
            }
        }
        false
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0usize..30).prop_map(Step::Fork),
        1 => (0usize..30).prop_map(Step::Exec),
        5 => (1usize..30, 0..256).prop_map(|(at, code)| Step::Exit(at, code)),
        1 => Just(Step::Register),
        2 => any::<u32>().prop_map(Step::Look),
    ]
}

proptest! {
    #[test]
    fn whatever_is_said_is_true(
        merges: bool,
        steps in prop::collection::vec(any_step(), 1..200),
    ) {
        let mut decoder = Decoder::new(Orphans::ToInit);
        let root = Process { parent: 0, pid: 100, udata: 1, status: None };
        let (all, queue, acts) = (vec![root], vec![], vec![]);
        let mut kernel = Kernel { merges, all, queue, acts, next: 100 };
        let (root, _) = decoder.watch(100, Moment(1));
        // Which process of the kernel's an identity is.
        let mut known = BTreeMap::from([(root, 0)]);
        let mut ended = 0;
        for (now, step) in (1..).zip(steps.into_iter().chain([Step::Look(0)])) {
            match step {
                Step::Fork(at) => {
                    if let Some(parent) = kernel.living(at)
                        && kernel.all.iter().filter(|it| it.status.is_none()).count() < 15
                        && kernel.queue.len() < 10
                    {
                        kernel.fork(parent);
                    }
                }
                Step::Exec(at) => {
                    if let Some(process) = kernel.living(at) {
                        kernel.post(process, NOTE_EXEC, None);
                    }
                }
                Step::Exit(at, code) => {
                    if let Some(process) = kernel.living(at).filter(|&it| it != 0) {
                        kernel.post(process, NOTE_EXIT, Some((code << 8).into()));
                        kernel.all[process].status = Some(code);
                    }
                }
                Step::Register => kernel.register(),
                Step::Look(zombies) => {
                    kernel.register();
                    let queue = std::mem::take(&mut kernel.queue);
                    let mut notes = Vec::new();
                    for (at, (whose, mut note)) in queue.iter().copied().enumerate() {
                        let process = &kernel.all[whose];
                        let alive = kernel.all[process.parent].status.is_none();
                        let parent = if alive { kernel.all[process.parent].pid } else { 1 };
                        let looked = super::Process { pid: note.pid, parent, ended: true };
                        let there = zombies >> (at % 32) & 1 != 0 && process.status.is_some();
                        note.looked = there.then_some(looked);
                        notes.push(note);
                    }
                    let mut events = Vec::new();
                    kernel.acts = decoder.hear(&notes, Moment(now * 1000), &mut events);
                    let mut born = queue.iter().filter(|(_, note)| note.fflags & NOTE_CHILD != 0);
                    for event in events {
                        match event {
                            Event::Fork { id, .. } if id == root => {}
                            Event::Fork { id, parent, .. } => {
                                let child = born.next().expect("a child").0;
                                let process = &kernel.all[child];
                                prop_assert_eq!(id.pid, process.pid);
                                known.insert(id, child);
                                match parent {
                                    Parent::Exact(parent) => {
                                        prop_assert_eq!(known.get(&parent), Some(&process.parent));
                                    }
                                    Parent::Ancestor(above) => {
                                        // A number that was another's before proves less.
                                        let number = kernel.all[process.parent].pid;
                                        let had = |it: &&Process| it.pid == number;
                                        let again = kernel.all.iter().filter(had).count() > 1;
                                        prop_assert!(merges || again, "nothing is lost then");
                                        prop_assert!(kernel.is_ancestor(known[&above], child));
                                    }
                                    Parent::Unknown => prop_assert!(false, "it has inherited"),
                                }
                            }
                            Event::Exit { id, exit, .. } => {
                                let status = kernel.all[known[&id]].status.map(Exit::Exited);
                                prop_assert!(status.is_some());
                                prop_assert_eq!(exit, status);
                                ended += 1;
                            }
                            Event::Exec { .. } => {}
                            other => prop_assert!(false, "{:?}", other),
                        }
                    }
                }
            }
        }
        prop_assert_eq!(known.len(), kernel.all.len(), "all have been heard of");
        prop_assert_eq!(ended, kernel.all.iter().filter(|it| it.status.is_some()).count());
    }
}
