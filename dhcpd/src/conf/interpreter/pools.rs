//! `pool { ... }`, which only ISC's dialect has: its ranges are their subnet's. What would keep them
//! for some clients only, or tell those something else, is an error: nobody is given an address that
//! the file denies, and no address is passed over in silence.

use super::super::arguments::Arguments;
use super::super::check::{Bound, Site, Wants};
use super::super::diagnostic::Problem;
use super::super::lexer::Token;
use super::super::statements::{Meaning, Row, Scope};
use super::super::tree::{Statement, Tree};
use super::declarations::RangeWords;
use super::{Interpreter, Open};
use crate::config::SubnetId;

/// What a pool has said so far; offsets of what is to be blamed.
#[derive(Debug, Default)]
pub struct Parts {
    /// `allow unknown-clients`, `allow known-clients`, `allow all clients`.
    allowed: [Option<u32>; 3],
    /// `deny unknown-clients`, `deny known-clients`.
    no_unknown: Option<u32>,
    no_known: Option<u32>,
    /// `deny dynamic bootp clients`.
    no_bootp: Option<u32>,
    /// The subnet of each range, and where one says `dynamic-bootp`.
    subnets: Vec<SubnetId>,
    bootp: Option<u32>,
}

/// Who is allowed or denied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Unknown,
    Known,
    All,
    Bootp,
    Others,
}

const FOR_SOME: &str =
    "a pool for some clients only is not supported: others would get its addresses";

impl Interpreter<'_> {
    /// Reads the block of a pool.
    pub(super) fn pool(&mut self, id: usize, tree: &Tree, first: &Token, inner: &[Statement]) {
        self.foreign(id, first, "pool");
        let mut scope = Open::new(Scope::Pool);
        if let Some(around) = self.scopes.last() {
            (scope.network, scope.subnet) = (around.network, around.subnet);
        }
        let in_place = scope.network.or(scope.subnet).is_some();
        let errors = self.said.errors();
        let Some(Open { pool, .. }) = self.block(id, tree, inner, scope) else { return };
        if pool.subnets.is_empty() && in_place && errors == self.said.errors() {
            self.say(id, Problem::warning(first.start, "a pool without a range"));
        }
        let [unknown, known, all] = pool.allowed;
        let unknown_only = unknown.filter(|_| known.or(all).is_none());
        let known_only = known.filter(|_| unknown.or(all).is_none());
        if let Some((range, _)) = pool.bootp.zip(pool.no_bootp) {
            let text = "this pool denies BOOTP clients what its range allows them";
            self.say(id, Problem::error(range, text));
        }
        let wants = [
            (pool.no_unknown.or(known_only), Wants::KnownOnly),
            (pool.no_known.or(unknown_only), Wants::UnknownOnly),
            (pool.no_bootp, Wants::NoBootp),
        ];
        for (offset, wants) in wants {
            let Some(offset) = offset else { continue };
            let subnets = pool.subnets.iter();
            let site = Site { file: id, offset };
            self.sites.bounds.extend(subnets.map(|subnet| Bound { subnet: *subnet, wants, site }));
        }
    }

    /// Reads a statement that stands in a pool, if it means something else there than elsewhere.
    pub(super) fn in_pool(&mut self, id: usize, tree: &Tree, words: &[Token], row: &Row) -> bool {
        let Some(first) = words.first() else { return false };
        if self.scopes.last().is_none_or(|scope| scope.kind != Scope::Pool) {
            return false;
        }
        match row.meaning {
            Meaning::Permit(allow) => {
                let mut arguments = Arguments::new(&tree.file, words, "", &mut *self.sources);
                arguments.next(); // its name
                let offset = arguments.offset();
                let who = permit(&mut arguments);
                let problem = match who {
                    Ok(who) => self.permitted(allow, who, offset).err(),
                    Err(problem) => Some(problem),
                };
                problem.into_iter().for_each(|problem| self.say(id, problem));
            }
            Meaning::NotYet if row.name == "failover" => {
                let text = "`failover` is not supported: a partner would give out the same addresses; \
                            servers here tell each other of leases (-Y and -y)";
                self.say(id, Problem::error(first.start, text));
            }
            Meaning::Range | Meaning::Include | Meaning::Declare(_) => return false,
            Meaning::NotYet | Meaning::Ignored(_) | Meaning::Refused(_) => return false,
            _ => {
                let name = row.name;
                let text = format!("`{name}` of a pool is not supported: write it in the subnet");
                self.say(id, Problem::error(first.start, text));
            }
        }
        true
    }

    /// Takes note of who may have the pool's addresses, if that can be kept.
    fn permitted(&mut self, allow: bool, who: Who, offset: u32) -> Result<(), Problem> {
        let Some(Open { pool, .. }) = self.scopes.last_mut() else { return Ok(()) };
        let place = match (allow, who) {
            (true, Who::Unknown) => &mut pool.allowed[0],
            (true, Who::Known) => &mut pool.allowed[1],
            (true, Who::All) => &mut pool.allowed[2],
            (false, Who::Unknown) => &mut pool.no_unknown,
            (false, Who::Known) => &mut pool.no_known,
            (false, Who::Bootp) => &mut pool.no_bootp,
            (true, Who::Bootp) | (false, Who::All) | (_, Who::Others) => {
                return Err(Problem::error(offset, FOR_SOME));
            }
        };
        place.get_or_insert(offset);
        Ok(())
    }

    /// The subnet that a range is of. In a pool of a shared-network, the one that has its first
    /// address, of those declared before. `None` where that was said to be wrong already.
    pub(super) fn subnet_of_range(
        &mut self,
        range: &RangeWords,
    ) -> Result<Option<SubnetId>, Problem> {
        let Some(scope) = self.scopes.last_mut() else { return Ok(None) };
        if scope.kind != Scope::Pool {
            return Ok(scope.subnet);
        }
        let (low, offset) = range.low;
        let network = scope.network.and_then(|network| self.config.networks.get(network));
        let subnet = match (scope.subnet, network) {
            (Some(subnet), _) => subnet,
            (None, None) => return Ok(None),
            (None, Some(network)) => {
                let has = |id: &&SubnetId| {
                    self.config.subnets.get(**id).is_some_and(|subnet| subnet.net.contains(low))
                };
                let text = format!("no subnet before this, in this shared-network, has {low}");
                *network.subnets.iter().find(has).ok_or_else(|| Problem::error(offset, text))?
            }
        };
        scope.pool.subnets.push(subnet);
        if range.dynamic_bootp {
            scope.pool.bootp.get_or_insert(offset);
        }
        Ok(Some(subnet))
    }
}

/// The words after `allow` and `deny`.
fn permit(arguments: &mut Arguments) -> Result<Who, Problem> {
    let who = match arguments.word("who is allowed or denied")? {
        word if word.eq_ignore_ascii_case("unknown-clients") => Who::Unknown,
        word if word.eq_ignore_ascii_case("known-clients") => Who::Known,
        word => {
            let bootp = word.eq_ignore_ascii_case("dynamic") && arguments.keyword("bootp");
            let who = match word.to_ascii_lowercase().as_str() {
                "unknown" => Who::Unknown,
                "known" => Who::Known,
                "all" => Who::All,
                _ if bootp => Who::Bootp,
                _ => return Ok(Who::Others),
            };
            if !arguments.keyword("clients") {
                return Err(arguments.expected("`clients`"));
            }
            who
        }
    };
    arguments.end("`;`")?;
    Ok(who)
}
