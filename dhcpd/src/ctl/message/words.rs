//! A request as whoever asks would type it, for the log.

use super::Request;
use crate::engine::inspect::Filter;
use crate::engine::orders::Order;
use crate::engine::why::Question;
use ipnetwork::Ipv4Network;
use std::fmt::{self, Display, Formatter};
use std::net::Ipv4Addr;

impl Request {
    /// What it is called on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Request::Status => "status",
            Request::Leases(_) => "leases",
            Request::ShowAddress(_) | Request::ShowHardware(_) => "show",
            Request::Why(_) => "why",
            Request::Order(Order::Release, _) => "release",
            Request::Order(Order::Delete, _) => "delete",
            Request::Reload => "reload",
            Request::Pools => "pools",
            Request::Counters => "counters",
        }
    }
}

impl Display for Request {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Request::Leases(filter) => leases(filter, f),
            Request::ShowAddress(address) | Request::Order(_, address) => write!(f, " {address}"),
            Request::ShowHardware(hardware) => write!(f, " {}", octets(hardware)),
            Request::Why(question) => why(question, f),
            _ => Ok(()),
        }
    }
}

fn leases(filter: &Filter, f: &mut Formatter<'_>) -> fmt::Result {
    let text = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(octets);
    option("address", filter.addresses.map(range), f)?;
    option("mac", text(&filter.hardware), f)?;
    option("client-id", text(&filter.client_id), f)?;
    option("hostname", filter.hostname.as_deref().map(str::escape_debug), f)?;
    option("network", filter.network.as_deref().map(str::escape_debug), f)?;
    option("state", filter.state.map(|state| state.name()), f)
}

fn why(question: &Question, f: &mut Formatter<'_>) -> fmt::Result {
    let class = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|b| b.escape_ascii().to_string());
    option("client-id", question.client_id.as_deref().map(octets), f)?;
    option("giaddr", question.giaddr, f)?;
    option("interface", question.interface.as_deref().map(str::escape_debug), f)?;
    option("user-class", class(&question.user_class), f)?;
    option("vendor-class", class(&question.vendor_class), f)?;
    write!(f, " {}", octets(&question.hardware))
}

fn option(name: &str, value: Option<impl Display>, f: &mut Formatter<'_>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, " --{name} {value}"))
}

/// As a prefix, which dhcpctl makes it of; others may ask for anything.
fn range((low, high): (Ipv4Addr, Ipv4Addr)) -> String {
    let length = (u32::from(low) ^ u32::from(high)).leading_zeros() as u8;
    match Ipv4Network::new(low, length) {
        Ok(_) if low == high => low.to_string(),
        Ok(net) if (net.network(), net.broadcast()) == (low, high) => net.to_string(),
        _ => format!("{low}-{high}"),
    }
}

/// Octets as the command line has them.
pub fn octets(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(":")
}

#[cfg(test)]
mod tests {
    use crate::ctl::args::{Command, parse};
    use crate::ctl::message::Request;
    use crate::engine::inspect::Filter;
    use std::ffi::OsString;
    use std::net::Ipv4Addr;

    #[test]
    fn a_request_is_logged_as_it_was_typed() {
        for line in [
            "status",
            "leases",
            "leases --address 10.0.0.0/24 --state leased",
            "leases --address 0.0.0.0/0",
            "leases --address 10.0.0.7 --mac 02:00:00:00:00:01 --client-id 01:ff --hostname pc \
             --network lan",
            "show 10.0.0.7",
            "show 02:00:00:00:00:01",
            "why --client-id 01:02 --giaddr 10.1.0.1 --interface em0 --user-class x \
             --vendor-class PXE 02:00:00:00:00:01",
            "release 10.0.0.7",
            "delete 10.0.0.7",
            "reload",
            "pools",
            "counters",
        ] {
            let args = parse(line.split_whitespace().map(OsString::from)).expect(line);
            let Command::Ask(requests, _) = args.command else { panic!("{line}: help") };
            assert_eq!(requests[0].to_string(), line);
        }
    }

    #[test]
    fn what_somebody_else_s_program_asks_for_stays_one_line() {
        let at = |last| Ipv4Addr::new(10, 0, 0, last);
        let (addresses, network) = (Some((at(1), at(9))), Some("a\n\x1bb".to_owned()));
        let request = Request::Leases(Filter { addresses, network, ..Filter::default() });
        let said = "leases --address 10.0.0.1-10.0.0.9 --network a\\n\\u{1b}b";
        assert_eq!(request.to_string(), said);
        let addresses = Some((at(9), at(1)));
        let request = Request::Leases(Filter { addresses, ..Filter::default() });
        assert_eq!(request.to_string(), "leases --address 10.0.0.9-10.0.0.1");
    }
}
