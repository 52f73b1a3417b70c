//! What has happened so far, as plain sums: for `dhcpctl counters`, for metrics, and for whoever
//! wonders why clients go without an address.
//!
//! A field is added to where the thing happens, and costs an addition. [`FAMILIES`] says what each
//! is called and means; whatever shows counters shows that table. What the engine cannot know (the
//! disk, the wire, the table handler) the server fills in before it shows them.

use crate::wire::code::message;

/// Since the server started. All of these only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "FAMILIES says what each means")]
pub struct Counters {
    pub discover: u64,
    pub request: u64,
    pub decline: u64,
    pub release: u64,
    pub inform: u64,
    pub leasequery: u64,
    pub bootp: u64,
    pub other: u64,

    pub malformed: u64,
    pub no_identity: u64,

    pub offer: u64,
    pub ack: u64,
    pub nak: u64,
    pub bootreply: u64,
    pub lease_told: u64,
    pub relay_option_lost: u64,

    pub unknown_network: u64,
    pub no_free_lease: u64,
    pub unknown_client: u64,
    pub host_denied: u64,
    pub class_denied: u64,
    pub bootp_denied: u64,
    pub too_many_pings: u64,
    pub too_many_declines: u64,
    pub not_theirs: u64,
    pub other_server: u64,
    pub busy: u64,
    pub not_ours_to_give: u64,
    pub query_denied: u64,
    pub query_rate: u64,

    pub nak_network: u64,
    pub nak_reserved: u64,
    pub nak_taken: u64,
    pub nak_other_lease: u64,
    pub nak_not_fixed: u64,

    pub committed: u64,
    pub released: u64,
    pub expired: u64,
    pub reclaimed: u64,
    pub duplicate: u64,
    pub abandoned_pinged: u64,
    pub abandoned_declined: u64,
    pub offers_lapsed: u64,
    pub offers_contested: u64,

    pub sync_taken: u64,
    pub sync_conflicts: u64,
    pub sync_refused: u64,

    pub pings: u64,
    pub ping_conflicts: u64,
    pub ping_spoofs: u64,
    pub ping_strays: u64,

    // The server's own, from here on.
    pub journal_records: u64,
    pub journal_commits: u64,
    pub journal_syncs: u64,
    pub journal_failures: u64,
    pub journal_full: u64,
    pub replies_suppressed: u64,
    pub rewrites: u64,
    pub rewrite_failures: u64,

    pub replies_unsent: u64,

    pub frames_bad_ip: u64,
    pub frames_bad_udp: u64,
    pub frames_malformed: u64,
    pub frames_tagged: u64,

    pub table_applied: u64,
    pub table_missing: u64,
    pub table_failed: u64,
    pub table_drops: u64,
    pub table_truths: u64,

    pub control_clients: u64,
    pub control_refused: u64,
    pub control_dropped: u64,
}

impl Counters {
    /// A message of this type came (option 53).
    pub(super) fn received(&mut self, kind: u8) {
        match kind {
            message::DISCOVER => self.discover += 1,
            message::REQUEST => self.request += 1,
            message::DECLINE => self.decline += 1,
            message::RELEASE => self.release += 1,
            message::INFORM => self.inform += 1,
            message::LEASEQUERY => self.leasequery += 1,
            _ => self.other += 1,
        }
    }
}

/// Counters that are one quantity, told apart by one label.
pub struct Family {
    /// What a metric of it is called: `dhcpd_..._total`.
    pub name: &'static str,
    /// What it counts, as one line without a full stop.
    pub help: &'static str,
    /// The label's name; empty where there is one row only.
    pub label: &'static str,
    /// The label's value, and the counter.
    pub rows: &'static [Row],
}

/// One counter of a family.
pub type Row = (&'static str, fn(&Counters) -> u64);

/// Every counter, in the order in which they are shown.
pub const FAMILIES: &[Family] = &[
    Family {
        name: "dhcpd_messages_received_total",
        help: "Messages from clients by type",
        label: "type",
        rows: &[
            ("discover", |c| c.discover),
            ("request", |c| c.request),
            ("decline", |c| c.decline),
            ("release", |c| c.release),
            ("inform", |c| c.inform),
            ("leasequery", |c| c.leasequery),
            ("bootp", |c| c.bootp),
            ("other", |c| c.other),
        ],
    },
    Family {
        name: "dhcpd_packets_ignored_total",
        help: "Packets that are no request one could answer",
        label: "reason",
        rows: &[
            ("malformed", |c| c.malformed),
            ("no_identity", |c| c.no_identity),
            ("bad_ip_checksum", |c| c.frames_bad_ip),
            ("bad_udp_checksum", |c| c.frames_bad_udp),
            ("malformed_frame", |c| c.frames_malformed),
            ("other_vlan", |c| c.frames_tagged),
        ],
    },
    Family {
        name: "dhcpd_sync_leases_total",
        help: "Leases that other servers told of by what became of them",
        label: "result",
        rows: &[("taken", |c| c.sync_taken), ("conflict", |c| c.sync_conflicts)],
    },
    Family {
        name: "dhcpd_sync_refused_total",
        help: "Datagrams of synchronisation that were not believed, or not understood",
        label: "",
        rows: &[("", |c| c.sync_refused)],
    },
    Family {
        name: "dhcpd_messages_sent_total",
        help: "Messages to clients by type, as decided; one that could not leave counts",
        label: "type",
        rows: &[
            ("offer", |c| c.offer),
            ("ack", |c| c.ack),
            ("nak", |c| c.nak),
            ("bootreply", |c| c.bootreply),
            ("leasequery_reply", |c| c.lease_told),
        ],
    },
    Family {
        name: "dhcpd_relay_options_lost_total",
        help: "Replies without the relay agent's option, for want of room",
        label: "",
        rows: &[("", |c| c.relay_option_lost)],
    },
    Family {
        name: "dhcpd_requests_refused_total",
        help: "Messages that were understood and led to nothing, by reason",
        label: "reason",
        rows: &[
            ("unknown_network", |c| c.unknown_network),
            ("no_free_lease", |c| c.no_free_lease),
            ("unknown_client", |c| c.unknown_client),
            ("host_denied", |c| c.host_denied),
            ("class_denied", |c| c.class_denied),
            ("bootp_denied", |c| c.bootp_denied),
            ("too_many_pings", |c| c.too_many_pings),
            ("too_many_declines", |c| c.too_many_declines),
            ("not_theirs", |c| c.not_theirs),
            ("other_server", |c| c.other_server),
            ("busy", |c| c.busy),
            ("not_ours_to_give", |c| c.not_ours_to_give),
            ("leasequery_denied", |c| c.query_denied),
            ("leasequery_rate", |c| c.query_rate),
        ],
    },
    Family {
        name: "dhcpd_naks_total",
        help: "DHCPNAKs by reason",
        label: "reason",
        rows: &[
            ("wrong_network", |c| c.nak_network),
            ("reserved_address", |c| c.nak_reserved),
            ("address_taken", |c| c.nak_taken),
            ("holds_other_address", |c| c.nak_other_lease),
            ("not_its_fixed_address", |c| c.nak_not_fixed),
        ],
    },
    Family {
        name: "dhcpd_leases_committed_total",
        help: "Leases given or renewed",
        label: "",
        rows: &[("", |c| c.committed)],
    },
    Family {
        name: "dhcpd_leases_ended_total",
        help: "Leases that ended, by how",
        label: "how",
        rows: &[("released", |c| c.released), ("expired", |c| c.expired)],
    },
    Family {
        name: "dhcpd_leases_abandoned_total",
        help: "Addresses kept away from everybody, by how it was found that somebody uses them",
        label: "how",
        rows: &[("pinged", |c| c.abandoned_pinged), ("declined", |c| c.abandoned_declined)],
    },
    Family {
        name: "dhcpd_leases_reclaimed_total",
        help: "Abandoned addresses that were tried again",
        label: "",
        rows: &[("", |c| c.reclaimed)],
    },
    Family {
        name: "dhcpd_leases_duplicate_total",
        help: "Leases ended because their client took another one",
        label: "",
        rows: &[("", |c| c.duplicate)],
    },
    Family {
        name: "dhcpd_offers_lapsed_total",
        help: "Offers that nobody requested in time",
        label: "",
        rows: &[("", |c| c.offers_lapsed)],
    },
    Family {
        name: "dhcpd_offers_contested_total",
        help: "Offers of an address that was offered to another client, who had not requested it yet",
        label: "",
        rows: &[("", |c| c.offers_contested)],
    },
    Family {
        name: "dhcpd_pings_sent_total",
        help: "Addresses asked whether somebody uses them",
        label: "",
        rows: &[("", |c| c.pings)],
    },
    Family {
        name: "dhcpd_ping_replies_total",
        help: "Answers to pings, by what they mean",
        label: "meaning",
        rows: &[
            ("conflict", |c| c.ping_conflicts),
            ("spoofed_release", |c| c.ping_spoofs),
            ("late_or_unexpected", |c| c.ping_strays),
        ],
    },
    Family {
        name: "dhcpd_journal_records_total",
        help: "Lease records given to the journal",
        label: "",
        rows: &[("", |c| c.journal_records)],
    },
    Family {
        name: "dhcpd_journal_commits_total",
        help: "Batches of records given to the journal",
        label: "",
        rows: &[("", |c| c.journal_commits)],
    },
    Family {
        name: "dhcpd_journal_syncs_total",
        help: "Groups of batches written and synced",
        label: "",
        rows: &[("", |c| c.journal_syncs)],
    },
    Family {
        name: "dhcpd_journal_failures_total",
        help: "Groups of batches that could not be written or synced",
        label: "",
        rows: &[("", |c| c.journal_failures)],
    },
    Family {
        name: "dhcpd_journal_full_total",
        help: "Batches not taken because too much waited for the disk",
        label: "",
        rows: &[("", |c| c.journal_full)],
    },
    Family {
        name: "dhcpd_replies_suppressed_total",
        help: "Acknowledgements not sent because their lease is not on disk",
        label: "",
        rows: &[("", |c| c.replies_suppressed)],
    },
    Family {
        name: "dhcpd_lease_file_rewrites_total",
        help: "New lease files, by whether they took the old one's place",
        label: "result",
        rows: &[("done", |c| c.rewrites), ("failed", |c| c.rewrite_failures)],
    },
    Family {
        name: "dhcpd_replies_unsent_total",
        help: "Messages and pings that the system did not take",
        label: "",
        rows: &[("", |c| c.replies_unsent)],
    },
    Family {
        name: "dhcpd_table_changes_total",
        help: "Changes to the firewall tables, by what became of them",
        label: "result",
        rows: &[
            ("applied", |c| c.table_applied),
            ("missing_table", |c| c.table_missing),
            ("failed", |c| c.table_failed),
        ],
    },
    Family {
        name: "dhcpd_table_feed_drops_total",
        help: "Changes given up for a reconciliation because the table handler was too slow",
        label: "",
        rows: &[("", |c| c.table_drops)],
    },
    Family {
        name: "dhcpd_table_reconciliations_total",
        help: "Times the table handler was told everything",
        label: "",
        rows: &[("", |c| c.table_truths)],
    },
    Family {
        name: "dhcpd_control_clients_total",
        help: "Connections to the control socket",
        label: "",
        rows: &[("", |c| c.control_clients)],
    },
    Family {
        name: "dhcpd_control_refused_total",
        help: "Requests on the control socket from who may not ask that",
        label: "",
        rows: &[("", |c| c.control_refused)],
    },
    Family {
        name: "dhcpd_control_dropped_total",
        help: "Connections to the control socket ended because of what they sent or did not take",
        label: "",
        rows: &[("", |c| c.control_dropped)],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_counter_is_shown_once() {
        // Each row shows another field, and there are as many rows as fields.
        let fields = size_of::<Counters>() / size_of::<u64>();
        let rows: Vec<_> = FAMILIES.iter().flat_map(|family| family.rows).collect();
        assert_eq!(rows.len(), fields);
        let text = format!("{:?}", Counters::default());
        assert_eq!(text.matches(": 0").count(), fields);
        let mut numbered = Counters::default();
        let Counters { discover, control_dropped, .. } = &mut numbered;
        (*discover, *control_dropped) = (1, 2);
        let shown: Vec<u64> = rows.iter().map(|(_, get)| get(&numbered)).collect();
        assert_eq!((shown.first(), shown.last()), (Some(&1), Some(&2)));
        let different: BTreeSet<String> = {
            let source = include_str!("counters.rs");
            let getters = source.split("|c| c.").skip(1);
            getters.map(|rest| rest.split(')').next().unwrap_or_default().to_owned()).collect()
        };
        // The one getter above is in that text too.
        assert_eq!(
            different.iter().filter(|name| text.contains(&format!(" {name}:"))).count(),
            fields
        );
    }

    #[test]
    fn names_are_what_prometheus_expects_of_counters() {
        let mut seen = BTreeSet::new();
        for family in FAMILIES {
            assert!(family.name.starts_with("dhcpd_") && family.name.ends_with("_total"));
            assert!(seen.insert(family.name), "{} twice", family.name);
            assert!(!family.help.is_empty() && !family.help.contains(['\n', '\\']));
            assert_eq!(
                family.label.is_empty(),
                family.rows.len() == 1 && family.rows[0].0.is_empty()
            );
            let values: BTreeSet<_> = family.rows.iter().map(|(value, _)| value).collect();
            assert_eq!(values.len(), family.rows.len(), "{}", family.name);
        }
    }
}
