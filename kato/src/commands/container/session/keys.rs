//! The keys that end an attachment on a terminal and leave the process running: Ctrl-P, then Ctrl-Q.
//!
//! Pure: what is typed goes in, what the process shall get comes out.

const FIRST: u8 = 0x10;
const SECOND: u8 = 0x11;

/// Looks for the keys in what is typed.
#[derive(Debug, Default)]
pub struct DetachKeys {
    held: bool,
}

/// What a piece of input comes to.
#[derive(Debug, PartialEq, Eq)]
pub struct Sifted {
    /// What the process gets.
    pub pass: Vec<u8>,
    /// Whether the keys were pressed; what was typed after them is dropped.
    pub detach: bool,
}

impl DetachKeys {
    /// Sifts one piece. The first key is held back until it is known what follows it.
    pub fn sift(&mut self, typed: &[u8]) -> Sifted {
        let mut pass = Vec::with_capacity(typed.len() + 1);
        for &byte in typed {
            match (self.held, byte) {
                (true, SECOND) => return Sifted { pass, detach: true },
                (true, FIRST) => pass.push(FIRST),
                (true, _) => {
                    pass.extend([FIRST, byte]);
                    self.held = false;
                }
                (false, FIRST) => self.held = true,
                (false, _) => pass.push(byte),
            }
        }
        Sifted { pass, detach: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sifted(pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut keys = DetachKeys::default();
        let mut all = Vec::new();
        for piece in pieces {
            let Sifted { pass, detach } = keys.sift(piece);
            all.extend(pass);
            if detach {
                return (all, true);
            }
        }
        (all, false)
    }

    #[test]
    fn the_keys_are_found_also_when_they_come_apart() {
        assert_eq!(sifted(&[b"ls\x10\x11rm"]), (b"ls".to_vec(), true));
        assert_eq!(sifted(&[b"ls\x10", b"\x11"]), (b"ls".to_vec(), true));
        assert_eq!(sifted(&[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
    }

    #[test]
    fn everything_else_passes() {
        assert_eq!(
            sifted(&[b"\x10a\x11", b"\x10", b"b"]),
            (b"\x10a\x11\x10b".to_vec(), false)
        );
    }
}
