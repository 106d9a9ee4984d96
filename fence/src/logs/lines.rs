//! Output cut into entries: lines, and parts of lines that are too long or whose end does not come. Pure.

use super::entry::{Piece, What};

/// The longest line of one entry, in bytes; a longer one is several.
const MAX_LINE: usize = 16 * 1024;

/// What of an output is no entry yet: the beginning of a line.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    /// Where in the whole of the stream what comes next begins.
    position: u64,
}

impl Lines {
    /// The stream goes on at this place.
    pub fn at(position: u64) -> Lines {
        Lines {
            begun: Vec::new(),
            position,
        }
    }

    /// Whether a line was begun and not ended.
    pub fn has_begun(&self) -> bool {
        !self.begun.is_empty()
    }

    /// More of the stream; gives what are entries by now.
    pub fn take(&mut self, data: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            let mut rest = part;
            while self.begun.len() + rest.len() > MAX_LINE && !rest.is_empty() {
                let (now, later) = rest.split_at(self.room(rest));
                if now.is_empty() {
                    pieces.extend(self.flush());
                    continue;
                }
                self.add(now);
                rest = later;
                if rest.is_empty() || rest == b"\n" {
                    break;
                }
                pieces.extend(self.flush());
            }
            self.add(rest);
            if self.begun.last() == Some(&b'\n') {
                self.begun.pop();
                let line = std::mem::take(&mut self.begun);
                pieces.push(Piece {
                    what: What::Line(line),
                    upto: self.position,
                });
            }
        }
        pieces
    }

    /// What was begun, as a part of a line: its end does not come now.
    pub fn flush(&mut self) -> Option<Piece> {
        self.has_begun().then(|| Piece {
            what: What::Part(std::mem::take(&mut self.begun)),
            upto: self.position,
        })
    }

    /// So many bytes of the stream are missing here.
    pub fn dropped(&mut self, bytes: u64, reason: &'static str) -> Vec<Piece> {
        let mut pieces = Vec::from_iter(self.flush());
        self.position += bytes;
        pieces.push(Piece {
            what: What::Dropped(bytes, reason),
            upto: self.position,
        });
        pieces
    }

    fn room(&self, rest: &[u8]) -> usize {
        MAX_LINE.saturating_sub(self.begun.len()).min(rest.len())
    }

    fn add(&mut self, bytes: &[u8]) {
        self.begun.extend_from_slice(bytes);
        self.position += bytes.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pieces: &[Piece]) -> Vec<u8> {
        let mut all = Vec::new();
        for piece in pieces {
            match &piece.what {
                What::Line(line) => {
                    all.extend_from_slice(line);
                    all.push(b'\n');
                }
                What::Part(part) => all.extend_from_slice(part),
                What::Dropped(..) => {}
            }
        }
        all
    }

    #[test]
    fn a_line_is_an_entry_once_its_end_is_there() {
        let mut lines = Lines::at(10);
        assert!(lines.take(b"ab").is_empty() && lines.has_begun());
        let pieces = lines.take(b"c\n\nd");
        let line = |text: &[u8], upto| Piece {
            what: What::Line(text.to_vec()),
            upto,
        };
        assert_eq!(pieces, [line(b"abc", 14), line(b"", 15)]);
        let part = lines.flush().unwrap();
        assert_eq!((part.what, part.upto), (What::Part(b"d".to_vec()), 16));
        assert!(lines.flush().is_none());
    }

    #[test]
    fn what_is_missing_stands_where_it_is() {
        let mut lines = Lines::at(0);
        lines.take(b"ab");
        let pieces = lines.dropped(8, "why");
        assert_eq!(pieces[0].what, What::Part(b"ab".to_vec()));
        assert_eq!((&pieces[1].what, pieces[1].upto), (&What::Dropped(8, "why"), 10));
        assert_eq!(lines.take(b"c\n")[0].upto, 12);
    }

    proptest::proptest! {
        /// However it arrives, nothing is lost, doubled or longer than an entry may be.
        #[test]
        fn all_of_it_is_in_the_entries(sizes in proptest::collection::vec(0usize..40_000, 1..12), every in 1usize..50_000) {
            let (mut lines, mut sent, mut pieces) = (Lines::at(0), Vec::new(), Vec::new());
            for size in sizes {
                let chunk: Vec<u8> = (sent.len()..sent.len() + size).map(|at| if at % every == 0 { b'\n' } else { b'x' }).collect();
                pieces.extend(lines.take(&chunk));
                sent.extend(chunk);
            }
            pieces.extend(lines.flush());
            proptest::prop_assert_eq!(text(&pieces), sent);
            let mut at = 0;
            for piece in &pieces {
                at += piece.length();
                proptest::prop_assert_eq!(piece.upto, at);
                proptest::prop_assert!(piece.length() <= MAX_LINE as u64 + 1 && piece.length() > 0);
            }
        }
    }
}
