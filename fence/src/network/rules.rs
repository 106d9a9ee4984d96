//! The rules that lead ports to containers, as text for `nft`. Pure: nothing is applied here.

use std::net::Ipv4Addr;

/// One port of the node that leads to one of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forward {
    pub host_port: u16,
    pub address: Ipv4Addr,
    pub container_port: u16,
}

/// The whole table, replacing what it held before in one transaction.
///
/// Connections from the node itself pass the output hook; those to 127.0.0.1 leave by the bridge with a loopback
/// source, which is masqueraded; see [`guard`] for what that needs.
pub fn table(name: &str, bridge: &str, forwards: &[Forward]) -> String {
    let mut elements: Vec<String> = forwards
        .iter()
        .map(|f| format!("{} : {} . {}", f.host_port, f.address, f.container_port))
        .collect();
    elements.sort();
    elements.dedup();
    let elements = if elements.is_empty() {
        String::new()
    } else {
        format!("elements = {{ {} }}", elements.join(", "))
    };
    format!(
        r#"table ip {name}
delete table ip {name}
table ip {name} {{
  map netin {{
    type inet_service : ipv4_addr . inet_service
    {elements}
  }}
  chain arriving {{
    type nat hook prerouting priority dstnat - 5; policy accept;
    fib daddr type local dnat ip to tcp dport map @netin
  }}
  chain local {{
    type nat hook output priority -105; policy accept;
    fib daddr type local dnat ip to tcp dport map @netin
  }}
  chain leaving {{
    type nat hook postrouting priority srcnat - 5; policy accept;
    oifname "{bridge}" ip saddr 127.0.0.0/8 ct status dnat masquerade
    iifname "{bridge}" oifname "{bridge}" ct status dnat masquerade
  }}
}}
"#
    )
}

/// The guard that makes `route_localnet` safe: nothing that comes from the bridge may claim a loopback destination. A
/// table of its own, one a bridge, which stays as long as that setting may.
pub fn guard(bridge: &str) -> String {
    let name: String = bridge
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let table = format!("fence_guard_{name}");
    format!(
        r#"table ip {table}
delete table ip {table}
table ip {table} {{
  chain arriving {{
    type filter hook prerouting priority raw; policy accept;
    iifname "{bridge}" ip daddr 127.0.0.0/8 drop
  }}
}}
"#
    )
}

/// The text that takes the table away.
pub fn no_table(name: &str) -> String {
    format!("table ip {name}\ndelete table ip {name}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_forward_is_one_element() {
        let forwards = [
            Forward {
                host_port: 61002,
                address: Ipv4Addr::new(172, 17, 0, 3),
                container_port: 80,
            },
            Forward {
                host_port: 61001,
                address: Ipv4Addr::new(172, 17, 0, 2),
                container_port: 8080,
            },
        ];
        let text = table("fence_1", "docker0", &forwards);
        assert!(
            text.contains("elements = { 61001 : 172.17.0.2 . 8080, 61002 : 172.17.0.3 . 80 }"),
            "{text}"
        );
    }

    #[test]
    fn no_forward_is_an_empty_map() {
        assert!(!table("fence_1", "docker0", &[]).contains("elements"));
    }
}
