//! A request's path and query, cut at their separators and percent-decoded once.
//!
//! Both kinds of route, ordinary and hijacked, take their names from here, so that they cannot differ. A `+` is a
//! space, as Garden's own server has it; bytes that are not UTF-8 become U+FFFD.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::Uri;
use http::request::Parts;

/// The decoded segments of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments(Vec<String>);

impl Segments {
    /// The segments of an address's path; `/a/b` has two.
    pub fn of(uri: &Uri) -> Segments {
        let path = uri.path();
        Segments(path.strip_prefix('/').unwrap_or(path).split('/').map(decode).collect())
    }

    /// All of them, to be matched.
    pub fn parts(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }

    /// The segment at a place counted from 0; empty where the path is shorter.
    pub fn at(&self, place: usize) -> &str {
        self.0.get(place).map_or("", String::as_str)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Segments {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Segments, Infallible> {
        Ok(Segments::of(&parts.uri))
    }
}

/// The decoded pairs of an address's query, in their order.
pub fn query(uri: &Uri) -> Vec<(String, String)> {
    let pairs = uri.query().unwrap_or("").split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        })
        .collect()
}

/// `%XX` and `+` to what they stand for; a `%` that begins nothing stays.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let (byte, step) = match (bytes[at], bytes.get(at + 1..at + 3)) {
            (b'+', _) => (b' ', 1),
            (b'%', Some(&[high, low])) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (nibble(high) << 4 | nibble(low), 3)
            }
            (other, _) => (other, 1),
        };
        decoded.push(byte);
        at += step;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Vec<String> {
        Segments::of(&path.parse().unwrap()).0
    }

    #[test]
    fn segments_are_decoded_once() {
        assert_eq!(segments("/containers/a%20b+c/info"), ["containers", "a b c", "info"]);
        assert_eq!(segments("/x/%2525"), ["x", "%25"]);
        assert_eq!(segments("/x/a%2Fb"), ["x", "a/b"]);
        assert_eq!(segments("/x/a%2Bb"), ["x", "a+b"]);
        assert_eq!(segments("/x/%C3%a4"), ["x", "ä"]);
        assert_eq!(segments("http://api/ping"), ["ping"]);
        assert_eq!(segments("/a/"), ["a", ""]);
    }

    #[test]
    fn what_cannot_be_decoded_stays_or_is_marked() {
        assert_eq!(segments("/x/%zz%4"), ["x", "%zz%4"]);
        assert_eq!(segments("/x/%ff"), ["x", "\u{fffd}"]);
    }

    #[test]
    fn queries_are_pairs() {
        let uri: Uri = "/containers?a=1&b=x%3Dy+z&c&&garden.state=all".parse().unwrap();
        let pairs = query(&uri);
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("a", "1"), ("b", "x=y z"), ("c", ""), ("garden.state", "all")]);
        assert!(query(&"/containers".parse().unwrap()).is_empty());
    }
}
