//! Networks that keep their numbers from one configuration to the next, so that little has to be
//! changed in what is kept by these numbers.

use super::{Config, NetworkId};
use ipnetwork::Ipv4Network;
use std::collections::HashMap;

impl Config {
    /// Gives each network the number that it has in `old`, where there is one of its subnets and as
    /// far as there are that many networks. Subnets keep their order.
    pub fn keep_numbers(&mut self, old: &Config) {
        let known: HashMap<Ipv4Network, NetworkId> =
            old.subnets.iter().map(|subnet| (subnet.net, subnet.network)).collect();
        let mut order: Vec<Option<NetworkId>> = vec![None; self.networks.len()];
        let mut others = Vec::new();
        for (id, network) in self.networks.iter().enumerate() {
            let nets = network.subnets.iter().filter_map(|subnet| self.subnets.get(*subnet));
            let wishes: Vec<NetworkId> = nets.filter_map(|s| known.get(&s.net).copied()).collect();
            let is_free = |wish: &&NetworkId| order.get(**wish).is_some_and(Option::is_none);
            match wishes.iter().find(is_free).and_then(|wish| order.get_mut(*wish)) {
                Some(place) => *place = Some(id),
                None => others.push(id),
            }
        }
        let mut others = others.into_iter();
        let order: Vec<NetworkId> =
            order.into_iter().filter_map(|place| place.or_else(|| others.next())).collect();
        let mut networks: Vec<_> =
            std::mem::take(&mut self.networks).into_iter().map(Some).collect();
        for (new, id) in order.iter().enumerate() {
            let Some(network) = networks.get_mut(*id).and_then(Option::take) else { continue };
            for subnet in &network.subnets {
                if let Some(subnet) = self.subnets.get_mut(*subnet) {
                    subnet.network = new;
                }
            }
            self.networks.push(network);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::conf::{self, Sources};
    use crate::config::Config;
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    struct Text(&'static str);

    impl Sources for Text {
        fn file(&mut self, _: &str) -> Result<Arc<[u8]>, String> {
            Ok(self.0.as_bytes().into())
        }

        fn addresses(&mut self, name: &str) -> Result<Vec<Ipv4Addr>, String> {
            Err(name.to_owned())
        }

        fn ethernet(&mut self, name: &str) -> Result<[u8; 6], String> {
            Err(name.to_owned())
        }
    }

    fn config(text: &'static str) -> Config {
        conf::load("test", &mut Text(text)).unwrap().0
    }

    fn names(config: &Config) -> Vec<&str> {
        for (id, network) in config.networks.iter().enumerate() {
            for subnet in &network.subnets {
                assert_eq!(config.subnets[*subnet].network, id);
            }
        }
        config.networks.iter().map(|n| &*n.name).collect()
    }

    #[test]
    fn networks_that_stay_keep_their_numbers() {
        const OLD: &str = "subnet 10.0.0.0 netmask 255.255.255.0 {}
            subnet 10.0.1.0 netmask 255.255.255.0 {}
            subnet 10.0.2.0 netmask 255.255.255.0 {}";
        let old = config(OLD);
        let mut same = config(OLD);
        same.keep_numbers(&old);
        assert_eq!(names(&same), names(&old));

        let mut other = config(
            "subnet 10.0.9.0 netmask 255.255.255.0 {}
            subnet 10.0.2.0 netmask 255.255.255.0 {}
            shared-network both {
                subnet 10.0.8.0 netmask 255.255.255.0 {}
                subnet 10.0.1.0 netmask 255.255.255.0 {}
            }
            subnet 10.0.7.0 netmask 255.255.255.0 {}",
        );
        other.keep_numbers(&old);
        assert_eq!(names(&other), ["10.0.9.0", "both", "10.0.2.0", "10.0.7.0"]);

        // Nobody is lost where there are fewer, and none is taken for two.
        let mut fewer = config(
            "subnet 10.0.2.0 netmask 255.255.255.0 {}
            subnet 10.0.1.0 netmask 255.255.255.0 {}",
        );
        fewer.keep_numbers(&old);
        assert_eq!(names(&fewer), ["10.0.2.0", "10.0.1.0"]);
        let both = config(
            "shared-network both {
                subnet 10.0.0.0 netmask 255.255.255.0 {}
                subnet 10.0.1.0 netmask 255.255.255.0 {}
            }",
        );
        let mut apart = config(OLD);
        apart.keep_numbers(&both);
        assert_eq!(names(&apart), ["10.0.0.0", "10.0.1.0", "10.0.2.0"]);
    }
}
