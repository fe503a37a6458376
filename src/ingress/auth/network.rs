//! Source networks, seen through the proxies that are trusted to name their client.
//!
//! `X-Forwarded-For` grows to the right: each proxy appends the address it was called from. So the client is the
//! rightmost address that is not itself a trusted proxy; what stands left of it was written by the client.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

use super::Peer;

/// Which source addresses pass.
pub(super) struct Networks {
    allowed: Vec<IpNet>,
    proxies: Vec<IpNet>,
}

impl Networks {
    pub(super) fn new(allowed: &[IpNet], proxies: &[IpNet]) -> Self {
        Self {
            allowed: allowed.to_vec(),
            proxies: proxies.to_vec(),
        }
    }

    /// Whether the client's address is in an allowed network; without any, everyone is.
    pub(super) fn allow(&self, peer: Peer, headers: &HeaderMap) -> bool {
        self.allowed.is_empty()
            || self
                .client(peer, headers)
                .is_some_and(|client| contain(&self.allowed, client))
    }

    /// The client's address; `None` when a trusted proxy named something that is none.
    fn client(&self, peer: Peer, headers: &HeaderMap) -> Option<IpAddr> {
        let mut client = peer.socket.to_canonical();
        if let Some(proxied) = peer.proxied
            && contain(&self.proxies, client)
        {
            client = proxied.to_canonical();
        }
        let lines = headers.get_all("x-forwarded-for");
        for line in lines.iter().rev() {
            for hop in line.as_bytes().rsplit(|&byte| byte == b',') {
                if !contain(&self.proxies, client) {
                    return Some(client);
                }
                client = address(hop)?;
            }
        }
        Some(client)
    }
}

/// Whether `address` is in one of `networks`. IPv4 addresses written as IPv6 are IPv4 addresses.
pub(in crate::ingress) fn contain(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// One hop, as proxies write it: an address, alone, with a port, or in brackets.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim();
    let address: IpAddr = if let Ok(address) = hop.parse() {
        address
    } else if let Ok(address) = hop.parse::<std::net::SocketAddr>() {
        address.ip()
    } else {
        hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn networks() -> Networks {
        Networks::new(
            &[
                "192.0.2.0/24".parse().unwrap(),
                "2001:db8::/32".parse().unwrap(),
            ],
            &["10.0.0.0/8".parse().unwrap()],
        )
    }

    fn allowed(socket: &str, proxied: Option<&str>, forwarded: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(line));
        }
        let peer = Peer {
            socket: socket.parse().unwrap(),
            proxied: proxied.map(|address| address.parse().unwrap()),
        };
        networks().allow(peer, &headers)
    }

    #[test]
    fn without_a_proxy_the_socket_decides_and_no_header_helps() {
        assert!(allowed("192.0.2.7", None, &[]));
        assert!(allowed("::ffff:192.0.2.7", None, &[]));
        assert!(allowed("2001:db8::1", None, &[]));
        assert!(!allowed("198.51.100.1", None, &[]));
        assert!(!allowed("198.51.100.1", None, &["192.0.2.7"]));
        assert!(!allowed("198.51.100.1", Some("192.0.2.7"), &[]));
    }

    #[test]
    fn behind_a_proxy_the_rightmost_untrusted_address_decides() {
        assert!(allowed("10.0.0.1", None, &["192.0.2.7"]));
        assert!(allowed("10.0.0.1", None, &["192.0.2.7, 10.1.1.1"]));
        assert!(allowed("10.0.0.1", None, &["192.0.2.7", "10.1.1.1"]));
        assert!(allowed("10.0.0.1", None, &["192.0.2.7:4711"]));
        assert!(allowed("10.0.0.1", None, &["[2001:db8::2]:443"]));
        assert!(!allowed("10.0.0.1", None, &["192.0.2.7, 198.51.100.1"]));
        assert!(!allowed("10.0.0.1", None, &["192.0.2.7", "198.51.100.1"]));
        assert!(!allowed("10.0.0.1", None, &["192.0.2.7, unknown"]));
        assert!(!allowed("10.0.0.1", None, &["192.0.2.7,"]));
        assert!(!allowed("10.0.0.1", None, &[]));
        assert!(allowed("10.0.0.1", Some("192.0.2.7"), &[]));
        assert!(!allowed("10.0.0.1", Some("198.51.100.1"), &["192.0.2.7"]));
    }
}
