//! Where BOOTP clients that no host declares are served here and not by OpenBSD's dhcpd(8), or the
//! other way round: there, the shared-network says so and not the subnet, and the one that is made
//! for a lone subnet knows only what is around it.

use super::super::outline::Key;
use super::{Compare, Declared, Findings, From, Holds, Written};

impl Compare<'_> {
    /// One finding for each subnet that may give such a client an address.
    pub(super) fn strangers(&mut self) -> Findings {
        const KEY: Key = Key::Field("unknown-clients");
        let (outline, config) = (self.outline, self.config);
        let mut findings = Findings::new();
        let said = |scope: &Written| scope.said.iter().any(|said| said.key == KEY);
        if !outline.scopes.iter().any(said) {
            return findings;
        }
        for (at, scope) in outline.scopes.iter().enumerate() {
            let Declared::Subnet(id) = scope.declared else { continue };
            let Some(subnet) = config.subnets.get(id) else { continue };
            let any = subnet.settings.dynamic_bootp == Some(true);
            if !subnet.ranges.iter().any(|range| any || range.dynamic_bootp) {
                continue;
            }
            let ours = self.holds(at, KEY, false);
            let theirs = match (scope.network, scope.around) {
                (Some((network, _)), _) => self.holds(network, KEY, true),
                (None, Some(around)) => self.holds_from(around, KEY, true),
                (None, None) => continue,
            };
            if self.same(&ours, &theirs) {
                continue;
            }
            let says = |allowed| if allowed { "allowed" } else { "denied" };
            let text = format!(
                "for BOOTP clients that no host declares, OpenBSD's dhcpd goes by what is said \
                 outside of the subnet: there they are {}, and here {}",
                says(self.is_on(&theirs)),
                says(self.is_on(&ours)),
            );
            let site = match ours {
                Holds::Said(From(said, number)) => {
                    outline.scopes.get(said).and_then(|scope| scope.said.get(number))
                }
                _ => None,
            };
            findings.push((site.map_or(scope.site, |said| said.site), text));
        }
        findings
    }
}
