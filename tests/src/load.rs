//! Many clients at once behind one relay agent, and a book of what each was promised.
//!
//! It sends as much as it may have in flight, reads all that comes, and fails the moment two
//! clients are promised one address or a client is refused what it was promised. It runs in the
//! thread that calls it, so that a test can do something between two packets.

use crate::random::Random;
use crate::wire::{ACK, Answer, DISCOVER, NAK, OFFER, Packet, RELEASE, REQUEST, Relay};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Transactions under way at once.
const WINDOW: usize = 64;

/// After this long without an answer a transaction is forgotten. What the server did is unknown.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a transaction is after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    /// A lease by DISCOVER, OFFER, REQUEST, ACK.
    Lease,
    /// A free address, asked for by its number: as likely as not by two clients at once.
    Take,
    /// The address that this client was promised.
    Keep,
    /// An address that another client was promised.
    Steal,
}

#[derive(Debug)]
struct Transaction {
    aim: Aim,
    mac: [u8; 6],
    asked: Ipv4Addr,
    until: Instant,
}

/// The clients.
pub struct Load<'a> {
    relay: &'a Relay,
    random: Random,
    first: u32,
    size: u32,
    in_flight: HashMap<u32, Transaction>,
    /// Who has asked for something, and this server may still acknowledge it, however late: what
    /// they gave back meanwhile would be theirs again here, and somebody else's there.
    late: HashSet<[u8; 6]>,
    xid: u32,
    clients: u32,
    /// Whom each address was promised to.
    pub promised: BTreeMap<Ipv4Addr, [u8; 6]>,
    /// The promises in the order they were made, renewals too.
    pub order: Vec<(Ipv4Addr, [u8; 6])>,
    /// Refusals so far.
    pub refusals: usize,
    /// Addresses leased by DISCOVER so far.
    pub leased: usize,
    /// Addresses given back so far.
    pub released: usize,
}

impl<'a> Load<'a> {
    /// Clients for a pool of `size` addresses from `first` on.
    pub fn new(relay: &'a Relay, first: Ipv4Addr, size: u32, seed: u64) -> Self {
        Load {
            relay,
            random: Random::new(seed),
            first: first.into(),
            size,
            in_flight: HashMap::new(),
            xid: 0,
            late: HashSet::new(),
            clients: 0,
            promised: BTreeMap::new(),
            order: Vec::new(),
            refusals: 0,
            leased: 0,
            released: 0,
        }
    }

    /// Lets them ask and hears what they are told, until `done`, which is asked between packets.
    pub fn run(&mut self, mut done: impl FnMut(&Self) -> bool) {
        while !done(self) {
            let now = Instant::now();
            for (_, late) in self.in_flight.extract_if(|_, transaction| transaction.until <= now) {
                self.late.insert(late.mac);
            }
            while self.in_flight.len() < WINDOW {
                self.begin(now);
            }
            self.relay.wait(Duration::from_millis(5));
            self.hear();
        }
    }

    /// Hears what is still there to be heard of a server that is gone, and forgets the rest.
    pub fn server_is_gone(&mut self) {
        self.hear();
        self.in_flight.clear();
        self.late.clear();
    }

    fn hear(&mut self) {
        while let Some(answer) = self.relay.poll() {
            self.take(&answer);
        }
    }

    fn begin(&mut self, now: Instant) {
        let any = Ipv4Addr::from(self.first + self.random.below(self.size.into()) as u32);
        let holder = self.promised.get(&any).copied();
        let (aim, mac) = match holder {
            None if self.random.one_in(4) => (Aim::Take, self.client()),
            None => (Aim::Lease, self.client()),
            Some(holder) if self.random.one_in(2) => return self.release(any, holder),
            Some(_) if self.random.one_in(8) => (Aim::Steal, self.client()),
            Some(holder) => (Aim::Keep, holder),
        };
        self.send(aim, mac, any, now);
        if aim == Aim::Take && self.random.one_in(4) {
            let rival = self.client();
            self.send(Aim::Take, rival, any, now);
        }
    }

    /// Gives an address back, unless the server may still be about to acknowledge it.
    fn release(&mut self, address: Ipv4Addr, holder: [u8; 6]) {
        let asks = self.in_flight.values().any(|transaction| transaction.mac == holder);
        if asks || self.late.contains(&holder) {
            return;
        }
        self.xid += 1;
        self.relay.send(Packet::new(RELEASE, holder, self.xid).ciaddr(address));
        self.promised.remove(&address);
        self.released += 1;
    }

    fn client(&mut self) -> [u8; 6] {
        self.clients += 1;
        let [a, b, c, d] = self.clients.to_be_bytes();
        [2, 7, a, b, c, d]
    }

    fn send(&mut self, aim: Aim, mac: [u8; 6], asked: Ipv4Addr, now: Instant) {
        self.xid += 1;
        let packet = match aim {
            Aim::Lease => Packet::new(DISCOVER, mac, self.xid),
            _ => Packet::new(REQUEST, mac, self.xid).option(50, &asked.octets()),
        };
        self.relay.send(packet);
        self.in_flight.insert(self.xid, Transaction { aim, mac, asked, until: now + PATIENCE });
    }

    fn take(&mut self, answer: &Answer) {
        if answer.kind == OFFER {
            let Some(transaction) = self.in_flight.get(&answer.xid) else { return };
            assert_eq!(transaction.aim, Aim::Lease);
            let others = self.promised.get(&answer.yiaddr).filter(|mac| **mac != answer.mac);
            assert_eq!(others, None, "{} is offered and has a holder", answer.yiaddr);
            let packet = Packet::new(REQUEST, transaction.mac, answer.xid)
                .option(50, &answer.yiaddr.octets())
                .option(54, &answer.options[&54]);
            self.relay.send(packet);
            return;
        }
        // An acknowledgement counts, no matter how late.
        if answer.kind == ACK {
            let earlier = self.promised.insert(answer.yiaddr, answer.mac);
            let others = earlier.filter(|mac| *mac != answer.mac);
            assert_eq!(others, None, "{} is promised to two: {:?}", answer.yiaddr, answer.mac);
            self.order.push((answer.yiaddr, answer.mac));
        }
        let Some(transaction) = self.in_flight.remove(&answer.xid) else { return };
        let Transaction { aim, mac, asked, .. } = transaction;
        match answer.kind {
            ACK => {
                assert_eq!(answer.mac, mac);
                assert_ne!(aim, Aim::Steal, "{asked} has a holder");
                self.leased += usize::from(aim == Aim::Lease);
            }
            NAK => {
                assert_ne!(aim, Aim::Keep, "{asked} was promised to {mac:?}");
                self.refusals += 1;
            }
            other => panic!("an answer of type {other}"),
        }
    }

    /// Each of the last `count` promises is kept, unless it was given back: its client asks for it
    /// again, as after a reboot.
    ///
    /// # Panics
    /// If one is not.
    pub fn check_last(&mut self, count: usize) {
        let last: BTreeMap<_, _> = self.order.iter().rev().take(count).copied().collect();
        // What is still under way is heard, or forgotten.
        let end = Instant::now() + PATIENCE;
        while !self.in_flight.is_empty() && Instant::now() < end {
            self.relay.wait(Duration::from_millis(5));
            self.hear();
        }
        self.in_flight.clear();
        for (address, mac) in last {
            if self.promised.get(&address) != Some(&mac) {
                continue;
            }
            self.send(Aim::Keep, mac, address, Instant::now());
            self.answered(WINDOW - 1);
        }
        self.answered(0);
    }

    /// Waits until no more than so many are under way.
    fn answered(&mut self, left: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.in_flight.len() > left {
            assert!(Instant::now() < deadline, "no answer for {:?}", self.in_flight);
            self.relay.wait(Duration::from_millis(5));
            self.hear();
        }
    }
}
