//! What of a directory does not go into a build: the patterns of `.dockerignore`, as Docker has them. Pure.
//!
//! A line is a path in which `*` and `?` stand for anything within a part, `**` for any parts, `[a-z]` and `[^a-z]` for one
//! character, and `\` takes what follows as it is; what is below a matched directory is matched as well. `!` takes back, the
//! last line that matches decides, a line that begins with `#` is a comment. Names need not be UTF-8.

use std::iter::Peekable;

use crate::{Error, Result};

/// The most lines of a file, and the longest of them in bytes.
const MAX_LINES: usize = 4096;
const MAX_LINE: usize = 4096;

/// The patterns of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    takes_back: bool,
    pattern: Vec<Piece>,
}

/// A character of a name; a byte that is part of none is one of its own.
type Char = u32;

const SLASH: Char = '/' as Char;

/// What a pattern is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    One(Char),
    /// `?`
    AnyOne,
    /// `*`
    WithinPart,
    /// `**` before more: nothing, or whatever ends with a slash.
    AnyParts,
    /// `**` at the end.
    AnyRest,
    /// `[…]`: one of these, or with `^` none of them.
    Class {
        but: bool,
        ranges: Vec<(Char, Char)>,
    },
}

impl Ignore {
    /// Those in this text; what is no pattern, or beyond the limits, is an error with its line.
    pub fn read(text: &[u8]) -> Result<Ignore> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let mut lines = Vec::new();
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let odd = |reason: &str| {
                let reason = format!("line {} of .dockerignore {reason}", at + 1);
                Error::refused(reason, "mend the line, or take it out")
            };
            if at >= MAX_LINES {
                return Err(odd(&format!("is one too many: {MAX_LINES} are read")));
            }
            if line.len() > MAX_LINE {
                return Err(odd(&format!("is longer than {MAX_LINE} bytes")));
            }
            if !line.starts_with(b"#") {
                lines.extend(Line::read(line.trim_ascii()).map_err(odd)?);
            }
        }
        Ok(Ignore { lines })
    }

    /// Whether this path of the directory, with `/` between its parts, stays out.
    pub fn is_out(&self, path: &[u8]) -> bool {
        let path = characters(path);
        let matched = self.lines.iter().rev().find(|line| line.matches(&path));
        matched.is_some_and(|line| !line.takes_back)
    }

    /// Whether something in a directory that stays out could be taken back.
    pub fn takes_back(&self) -> bool {
        self.lines.iter().any(|line| line.takes_back)
    }
}

impl Line {
    /// The pattern in a line; `None` where there is none.
    fn read(line: &[u8]) -> std::result::Result<Option<Line>, &'static str> {
        let (takes_back, path) = match line.strip_prefix(b"!") {
            Some(path) => (true, path.trim_ascii()),
            None => (false, line),
        };
        if path.is_empty() {
            return if takes_back {
                Err("takes back nothing")
            } else {
                Ok(None)
            };
        }
        let path = clean(path);
        // The whole directory cannot be left out, nor what is outside of it.
        if path.is_empty() {
            return Ok(None);
        }
        let pattern = pieces(&characters(&path))?;
        Ok(Some(Line { takes_back, pattern }))
    }

    /// Whether it matches the path, or a directory that the path is in.
    fn matches(&self, path: &[Char]) -> bool {
        let end = self.pattern.len();
        // All places of the pattern that what was read so far leads to.
        let (mut at, mut next) = (vec![false; end + 1], vec![false; end + 1]);
        at[0] = true;
        self.pass_on(&mut at);
        for one in path {
            if *one == SLASH && at[end] {
                return true;
            }
            if !at[..end].contains(&true) {
                return false;
            }
            self.read_on(&at, *one, &mut next);
            std::mem::swap(&mut at, &mut next);
        }
        at[end]
    }

    /// The places that one more character leads to.
    fn read_on(&self, at: &[bool], one: Char, next: &mut [bool]) {
        next.fill(false);
        let here = || self.pattern.iter().enumerate().filter(|(place, _)| at[*place]);
        for (place, piece) in here() {
            match piece {
                Piece::WithinPart => next[place] |= one != SLASH,
                Piece::AnyRest => next[place] = true,
                Piece::AnyParts => next[place + 1] |= one == SLASH,
                single => next[place + 1] |= single.is(one),
            }
        }
        self.pass_on(next);
        // Where it has begun, it ends with a slash and nowhere else.
        for (place, _) in here().filter(|(_, piece)| **piece == Piece::AnyParts) {
            next[place] = true;
        }
    }

    /// What stands for nothing as well is passed over.
    fn pass_on(&self, at: &mut [bool]) {
        for (place, piece) in self.pattern.iter().enumerate() {
            if at[place] && matches!(piece, Piece::WithinPart | Piece::AnyRest | Piece::AnyParts) {
                at[place + 1] = true;
            }
        }
    }
}

impl Piece {
    /// Whether it stands for this one character.
    fn is(&self, one: Char) -> bool {
        match self {
            Piece::One(wanted) => *wanted == one,
            Piece::AnyOne => one != SLASH,
            Piece::Class { but, ranges } => {
                let is_in = ranges.iter().any(|(from, to)| (*from..=*to).contains(&one));
                one != SLASH && is_in != *but
            }
            Piece::WithinPart | Piece::AnyParts | Piece::AnyRest => false,
        }
    }
}

fn characters(bytes: &[u8]) -> Vec<Char> {
    let mut all = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        all.extend(chunk.valid().chars().map(Char::from));
        // Beyond all characters, so that no pattern of text means it by chance.
        all.extend(chunk.invalid().iter().map(|byte| 0x0011_0000 + Char::from(*byte)));
    }
    all
}

/// The path from the top, without empty parts, `.` and `..`; empty where it leads out.
fn clean(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.pop().is_none() => return Vec::new(),
            b".." => {}
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

fn pieces(text: &[Char]) -> std::result::Result<Vec<Piece>, &'static str> {
    let mut pieces = Vec::new();
    let mut rest = text.iter().copied().peekable();
    let is = |one: Option<&Char>, wanted: char| one == Some(&Char::from(wanted));
    while let Some(one) = rest.next() {
        pieces.push(match char::from_u32(one) {
            Some('*') if is(rest.peek(), '*') => {
                while is(rest.peek(), '*') {
                    rest.next();
                }
                if is(rest.peek(), '/') {
                    rest.next();
                }
                match rest.peek() {
                    Some(_) => Piece::AnyParts,
                    None => Piece::AnyRest,
                }
            }
            Some('*') => Piece::WithinPart,
            Some('?') => Piece::AnyOne,
            Some('[') => class(&mut rest)?,
            Some('\\') => Piece::One(rest.next().ok_or("ends with a \\ that takes nothing as it is")?),
            _ => Piece::One(one),
        });
    }
    Ok(pieces)
}

const OPEN: &str = "has a [ without its ]";

/// What follows a `[`, up to its `]`.
fn class(rest: &mut Peekable<impl Iterator<Item = Char>>) -> std::result::Result<Piece, &'static str> {
    let but = rest.next_if_eq(&Char::from('^')).is_some();
    let mut ranges = Vec::new();
    while rest.next_if_eq(&Char::from(']')).is_none() {
        let from = member(rest)?;
        let to = match rest.next_if_eq(&Char::from('-')) {
            Some(_) => member(rest)?,
            None => from,
        };
        ranges.push((from, to));
    }
    match ranges.is_empty() {
        true => Err("has a [] with nothing in it"),
        false => Ok(Piece::Class { but, ranges }),
    }
}

fn member(rest: &mut impl Iterator<Item = Char>) -> std::result::Result<Char, &'static str> {
    let one = rest.next().ok_or(OPEN)?;
    match char::from_u32(one) {
        Some('\\') => rest.next().ok_or(OPEN),
        Some('-' | ']') => Err("has a - in its [] that is no range"),
        _ => Ok(one),
    }
}

#[cfg(test)]
#[path = "ignore_tests.rs"]
mod tests;
