//! PROXY protocol v2: the first bytes of a connection, in which a load balancer names the client.
//!
//! Read from trusted proxies only, and from them always: a listener that takes the header as optional lets any client
//! write its own. Version 1, the textual one, is not spoken. Type-length-value extensions are skipped.

use std::io;
use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The twelve bytes that no HTTP request and no TLS handshake begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes before the addresses.
const PREFIX_BYTES: usize = 16;

/// Most bytes of addresses and extensions. Proxies send up to a few hundred, with a client certificate's name included.
const MAX_REST_BYTES: usize = 4096;

/// Why the first bytes of a connection are no PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// More bytes are needed: this many in all.
    #[error("the PROXY header is incomplete, {0} bytes are needed")]
    Incomplete(usize),
    /// Something else.
    #[error("not a PROXY protocol v2 header")]
    Malformed,
}

/// What a header says, and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The client's address; `None` for the proxy's own connections (health checks) and for other than IP.
    pub client: Option<IpAddr>,
    /// Bytes of the header; what follows is the connection's own.
    pub bytes: usize,
}

/// Parses the beginning of `input`.
///
/// # Errors
/// See [`ProxyError`]. `Incomplete` never asks for more than a bounded number of bytes.
pub fn parse(input: &[u8]) -> Result<ProxyHeader, ProxyError> {
    let known = input.len().min(SIGNATURE.len());
    if input[..known] != SIGNATURE[..known] {
        return Err(ProxyError::Malformed);
    }
    let Some(prefix) = input.first_chunk::<PREFIX_BYTES>() else {
        return Err(ProxyError::Incomplete(PREFIX_BYTES));
    };
    let rest_bytes = usize::from(u16::from_be_bytes([prefix[14], prefix[15]]));
    if rest_bytes > MAX_REST_BYTES {
        return Err(ProxyError::Malformed);
    }
    let bytes = PREFIX_BYTES + rest_bytes;
    let rest = input
        .get(PREFIX_BYTES..bytes)
        .ok_or(ProxyError::Incomplete(bytes))?;
    let client = match (prefix[12], prefix[13] >> 4) {
        // LOCAL: whatever the addresses say, the connection is the proxy's own.
        (0x20, _) => None,
        (0x21, 0x0 | 0x3) => None,
        (0x21, 0x1) => Some(source::<4>(rest, 12)?),
        (0x21, 0x2) => Some(source::<16>(rest, 36)?),
        _ => return Err(ProxyError::Malformed),
    };
    Ok(ProxyHeader { client, bytes })
}

/// The source address, which comes first in an address block of `block_bytes`.
fn source<const N: usize>(rest: &[u8], block_bytes: usize) -> Result<IpAddr, ProxyError>
where
    IpAddr: From<[u8; N]>,
{
    if rest.len() < block_bytes {
        return Err(ProxyError::Malformed);
    }
    rest.first_chunk::<N>()
        .map(|octets| IpAddr::from(*octets).to_canonical())
        .ok_or(ProxyError::Malformed)
}

/// Reads one header off the beginning of `stream`, and not a byte more.
///
/// # Errors
/// What the stream says, or `InvalidData`. Not cancel safe: bytes read are lost.
pub(super) async fn read<T: AsyncRead + Unpin>(stream: &mut T) -> io::Result<Option<IpAddr>> {
    let mut header = vec![0; PREFIX_BYTES];
    stream.read_exact(&mut header).await?;
    loop {
        match parse(&header) {
            Ok(parsed) => return Ok(parsed.client),
            Err(ProxyError::Incomplete(needed)) if needed > header.len() => {
                let have = header.len();
                header.resize(needed, 0);
                stream.read_exact(&mut header[have..]).await?;
            }
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend_from_slice(&[command, family]);
        header.extend_from_slice(&u16::try_from(rest.len()).unwrap().to_be_bytes());
        header.extend_from_slice(rest);
        header
    }

    #[test]
    fn the_source_address_is_read_and_extensions_are_skipped() {
        for address in ["192.0.2.7", "2001:db8::7"] {
            let address: IpAddr = address.parse().unwrap();
            let mut input = match address {
                IpAddr::V4(address) => {
                    header(0x21, 0x11, &[&address.octets()[..], &[0; 8]].concat())
                }
                IpAddr::V6(address) => {
                    header(0x21, 0x21, &[&address.octets()[..], &[0; 20]].concat())
                }
            };
            let bytes = input.len();
            input.extend_from_slice(b"POST /");
            assert_eq!(
                parse(&input),
                Ok(ProxyHeader {
                    client: Some(address),
                    bytes
                })
            );
        }
        let mut rest = vec![192, 0, 2, 7, 127, 0, 0, 1, 0, 1, 0, 2];
        rest.extend_from_slice(&[0x04, 0, 3, 1, 2, 3]);
        let input = header(0x21, 0x11, &rest);
        assert_eq!(parse(&input).map(|header| header.bytes), Ok(input.len()));
    }

    #[test]
    fn a_proxys_own_connection_names_no_client() {
        for (command, family) in [(0x20, 0x00), (0x20, 0x11), (0x21, 0x00), (0x21, 0x31)] {
            let parsed = parse(&header(command, family, &[0; 12])).unwrap();
            assert_eq!(parsed.client, None, "{command:x} {family:x}");
        }
    }

    #[test]
    fn every_cut_asks_for_more_and_everything_else_is_malformed() {
        let whole = header(0x21, 0x11, &[0; 12]);
        for length in 0..whole.len() {
            assert!(matches!(
                parse(&whole[..length]),
                Err(ProxyError::Incomplete(_))
            ));
        }
        for input in [
            b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n".to_vec(),
            b"POST /postback HTTP/1.1\r\n\r\n".to_vec(),
            header(0x11, 0x11, &[0; 12]),
            header(0x22, 0x11, &[0; 12]),
            header(0x21, 0x11, &[0; 11]),
            header(0x21, 0x21, &[0; 12]),
            header(0x21, 0x41, &[0; 36]),
            header(0x21, 0x11, &[0; MAX_REST_BYTES + 1]),
        ] {
            assert_eq!(parse(&input), Err(ProxyError::Malformed), "{input:x?}");
        }
    }
    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_header_or_not_and_never_ask_for_too_much(
            begins_well: bool,
            bytes: Vec<u8>,
        ) {
            let input = if begins_well { [&SIGNATURE[..], &bytes].concat() } else { bytes };
            match parse(&input) {
                Ok(header) => proptest::prop_assert!(header.bytes <= input.len()),
                Err(ProxyError::Incomplete(needed)) => {
                    proptest::prop_assert!(needed > input.len());
                    proptest::prop_assert!(needed <= PREFIX_BYTES + MAX_REST_BYTES);
                }
                Err(ProxyError::Malformed) => {}
            }
        }
    }
}
