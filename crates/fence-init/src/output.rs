//! What one output stream of a process has written and who has read how much of it. Pure: bytes come in by
//! [`Backlog::push`] and go out by [`Backlog::next`]; pipes and sockets are elsewhere.
//!
//! ```text
//!            taken        acked  sent          end
//!   ···········|────────────|─────|─────────────|      offsets count every byte since the process's start
//!        start ┘ kept: start..end, at most `limit`
//! ```
//!
//! An attachment *opens* the stream with its first ack. While one has it open and is merely slow, nothing is dropped:
//! [`Backlog::room`] becomes 0 and the process waits. What nobody with an open stream needs is dropped, oldest first,
//! and whoever comes to that place later is told which bytes are missing.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use fence_init::protocol::{MAX_DATA, WINDOW};

/// The memory that an empty backlog may go on holding, in bytes.
const EMPTY_CAPACITY: usize = 4096;

/// One attachment's place in the stream.
#[derive(Debug)]
struct Cursor {
    sent: u64,
    acked: u64,
    open: bool,
    told_end: bool,
    /// Whether this is the log, which neither takes from others nor holds them up.
    log: bool,
}

/// What is next for an attachment.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// These bytes are gone.
    Dropped { from: u64, upto: u64 },
    /// At most [`MAX_DATA`] bytes.
    Data(&'a [u8]),
    /// Nothing will come after what was sent.
    End,
}

/// An ack of bytes that were never sent.
#[derive(Debug, PartialEq, Eq)]
pub struct AckBeyondSent;

/// The kept part of one stream and the cursors in it.
#[derive(Debug)]
pub struct Backlog {
    data: VecDeque<u8>,
    /// The offset of the first byte of `data`.
    start: u64,
    /// How far any attachment has ever acked.
    taken: u64,
    /// How far the log has acked, where there is to be one.
    logged: Option<u64>,
    limit: usize,
    cursors: BTreeMap<u32, Cursor>,
    ended: bool,
}

impl Backlog {
    /// An empty stream that keeps at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            data: VecDeque::new(),
            start: 0,
            taken: 0,
            logged: None,
            limit,
            cursors: BTreeMap::new(),
            ended: false,
        }
    }

    /// The offset behind the last byte.
    fn end(&self) -> u64 {
        self.start + self.data.len() as u64
    }

    /// How many bytes are kept.
    pub fn kept(&self) -> usize {
        self.data.len()
    }

    /// Whether the stream has ended.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Nothing more will be pushed.
    pub fn finish(&mut self) {
        self.ended = true;
    }

    /// The attachments, each of which may have something to be sent.
    pub fn attachments(&self) -> impl Iterator<Item = u32> + '_ {
        self.cursors.keys().copied()
    }

    /// All of this stream is for a log too. To be said before anything is pushed.
    pub fn keep_for_log(&mut self) {
        self.logged = Some(self.end());
    }

    /// Adds an attachment and says where it begins: at what is unread if it is the only one, else at the end.
    pub fn attach(&mut self, attachment: u32) -> u64 {
        let from = if self.cursors.values().all(|cursor| cursor.log) {
            self.taken
        } else {
            self.end()
        };
        self.add(attachment, from, false);
        from
    }

    /// Adds the attachment of the log and says where it begins: at what no log has acked, whoever else has.
    pub fn attach_log(&mut self, attachment: u32) -> u64 {
        let end = self.end();
        let from = *self.logged.get_or_insert(end);
        self.add(attachment, from, true);
        from
    }

    fn add(&mut self, attachment: u32, from: u64, log: bool) {
        let cursor = Cursor {
            sent: from,
            acked: from,
            open: false,
            told_end: false,
            log,
        };
        self.cursors.insert(attachment, cursor);
    }

    /// Removes an attachment.
    pub fn detach(&mut self, attachment: u32) {
        self.cursors.remove(&attachment);
        self.free();
    }

    /// Removes all attachments at once: their connection is gone. What none of them has acked stays.
    pub fn detach_all(&mut self) {
        self.cursors.clear();
        self.free();
    }

    /// The attachment has passed on everything before `upto`; its first ack opens the stream.
    pub fn ack(&mut self, attachment: u32, upto: u64) -> Result<(), AckBeyondSent> {
        let Some(cursor) = self.cursors.get_mut(&attachment) else {
            return Ok(());
        };
        if upto > cursor.sent {
            return Err(AckBeyondSent);
        }
        cursor.open = true;
        cursor.acked = cursor.acked.max(upto);
        match &mut self.logged {
            Some(logged) if cursor.log => *logged = (*logged).max(upto),
            _ => self.taken = self.taken.max(upto),
        }
        self.free();
        Ok(())
    }

    /// Frees what every attachment has acked and no later one may ask for.
    fn free(&mut self) {
        let needed = self
            .cursors
            .values()
            .map(|cursor| cursor.acked)
            .chain(self.logged)
            .fold(self.taken, u64::min);
        self.advance(needed);
    }

    /// Gives up everything before `offset`.
    fn advance(&mut self, offset: u64) {
        let count = usize::try_from(offset.saturating_sub(self.start))
            .unwrap_or(usize::MAX)
            .min(self.data.len());
        self.data.drain(..count);
        self.start += count as u64;
        if self.data.is_empty() {
            self.data.shrink_to(EMPTY_CAPACITY);
        }
    }

    /// The first byte that an attachment with an open stream still needs, if there is such an attachment.
    fn held(&self) -> Option<u64> {
        self.cursors
            .values()
            .filter(|cursor| cursor.open && !cursor.log)
            .map(|cursor| cursor.acked)
            .min()
    }

    /// How many bytes may be pushed now without taking any from an attachment that has the stream open.
    pub fn room(&self) -> usize {
        let used = match self.held() {
            None => 0,
            Some(held) => self.end().saturating_sub(held.max(self.start)),
        };
        self.limit.saturating_sub(usize::try_from(used).unwrap_or(usize::MAX))
    }

    /// Takes in bytes; beyond the limit the oldest go that nobody with an open stream needs.
    pub fn push(&mut self, bytes: &[u8]) {
        self.drop_oldest(bytes.len());
        let needed = self.data.len() + bytes.len();
        if needed > self.data.capacity() {
            // Doubles as usual, but not beyond the limit: this memory is the container's own.
            let wanted = needed.max(self.limit.min(self.data.capacity() * 2));
            self.data.reserve_exact(wanted - self.data.len());
        }
        self.data.extend(bytes);
        self.drop_oldest(0);
    }

    /// Drops what is too much, were so many more bytes added.
    fn drop_oldest(&mut self, more: usize) {
        let excess = (self.data.len() + more).saturating_sub(self.limit) as u64;
        let target = self.start + excess;
        self.advance(self.held().map_or(target, |held| target.min(held)));
    }

    /// What is to be sent to this attachment now, marked as sent; `None` if there is nothing, or no window for it.
    pub fn next(&mut self, attachment: u32) -> Option<Piece<'_>> {
        let end = self.end();
        let cursor = self.cursors.get_mut(&attachment).filter(|cursor| cursor.open)?;
        if cursor.sent < self.start {
            let from = cursor.sent;
            cursor.sent = self.start;
            cursor.acked = cursor.acked.max(self.start);
            return Some(Piece::Dropped { from, upto: self.start });
        }
        let waiting = end - cursor.sent;
        if waiting == 0 {
            let tell = self.ended && !cursor.told_end;
            cursor.told_end |= tell;
            return tell.then_some(Piece::End);
        }
        let window = (cursor.acked + WINDOW).saturating_sub(cursor.sent);
        let most = usize::try_from(waiting.min(window)).unwrap_or(usize::MAX).min(MAX_DATA);
        let skip = usize::try_from(cursor.sent - self.start).unwrap_or(usize::MAX);
        let (front, back) = self.data.as_slices();
        let rest = if skip < front.len() {
            &front[skip..]
        } else {
            &back[skip - front.len()..]
        };
        let piece = &rest[..most.min(rest.len())];
        cursor.sent += piece.len() as u64;
        (!piece.is_empty()).then_some(Piece::Data(piece))
    }

    /// The attachments that were not told the end, with what was not sent to them, whether they opened the stream or not.
    pub fn unserved(&self) -> impl Iterator<Item = (u32, Range<u64>)> + '_ {
        let waiting = self.cursors.iter().filter(|(_, cursor)| !cursor.told_end);
        waiting.map(|(attachment, cursor)| (*attachment, cursor.sent..self.end()))
    }

    /// Whether everything an attachment opened this stream for was sent to it.
    pub fn delivered(&self) -> bool {
        self.cursors
            .values()
            .all(|cursor| !cursor.open || (cursor.told_end && cursor.acked == self.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that comes out for an attachment that acks at once.
    fn drain(backlog: &mut Backlog, attachment: u32, at: &mut u64) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            match backlog.next(attachment) {
                Some(Piece::Data(data)) => {
                    *at += data.len() as u64;
                    out.extend_from_slice(data);
                }
                Some(Piece::Dropped { upto, .. }) => *at = upto,
                Some(Piece::End) | None => return out,
            }
            backlog.ack(attachment, *at).unwrap();
        }
    }

    #[test]
    fn nothing_is_sent_before_the_first_ack() {
        let mut backlog = Backlog::new(100);
        assert_eq!(backlog.attach(1), 0);
        backlog.push(b"hello");
        backlog.finish();
        assert_eq!(backlog.next(1), None);
        backlog.ack(1, 0).unwrap();
        assert_eq!(backlog.next(1), Some(Piece::Data(b"hello")));
        assert_eq!(backlog.next(1), Some(Piece::End));
        assert_eq!(backlog.next(1), None);
        assert!(!backlog.delivered());
        backlog.ack(1, 5).unwrap();
        assert!(backlog.delivered());
        assert_eq!(backlog.kept(), 0);
    }

    #[test]
    fn no_more_than_the_window_is_under_way() {
        let mut backlog = Backlog::new(1 << 20);
        backlog.attach(1);
        backlog.ack(1, 0).unwrap();
        backlog.push(&vec![b'x'; 1 << 20]);
        let mut sent = 0;
        while let Some(Piece::Data(data)) = backlog.next(1) {
            assert!(data.len() <= MAX_DATA);
            sent += data.len() as u64;
        }
        assert_eq!(sent, WINDOW);
        backlog.ack(1, 1000).unwrap();
        assert!(matches!(backlog.next(1), Some(Piece::Data(data)) if data.len() == 1000));
        assert_eq!(backlog.ack(1, WINDOW + 1001), Err(AckBeyondSent));
    }

    #[test]
    fn a_slow_reader_makes_the_process_wait_and_loses_nothing() {
        let mut backlog = Backlog::new(10);
        backlog.attach(1);
        backlog.ack(1, 0).unwrap();
        backlog.push(b"0123456");
        assert_eq!(backlog.room(), 3);
        backlog.push(b"789");
        assert_eq!(backlog.room(), 0);
        let mut at = 0;
        assert_eq!(drain(&mut backlog, 1, &mut at), b"0123456789");
        assert_eq!(backlog.room(), 10);
    }

    #[test]
    fn without_an_open_reader_the_oldest_go_and_the_loss_is_told() {
        let mut backlog = Backlog::new(4);
        backlog.attach(1);
        backlog.push(b"abcdef");
        assert_eq!(backlog.room(), 4);
        assert_eq!(backlog.kept(), 4);
        backlog.ack(1, 0).unwrap();
        assert_eq!(backlog.next(1), Some(Piece::Dropped { from: 0, upto: 2 }));
        assert_eq!(backlog.next(1), Some(Piece::Data(b"cdef")));
    }

    #[test]
    fn an_attachment_that_never_opens_does_not_hold_up_one_that_reads() {
        let mut backlog = Backlog::new(4);
        backlog.attach(1);
        backlog.attach(2);
        backlog.ack(1, 0).unwrap();
        let mut at = 0;
        for round in 0..10u8 {
            assert_eq!(backlog.room(), 4);
            backlog.push(&[round; 4]);
            assert_eq!(drain(&mut backlog, 1, &mut at), [round; 4]);
        }
        backlog.ack(2, 0).unwrap();
        assert_eq!(backlog.next(2), Some(Piece::Dropped { from: 0, upto: 36 }));
        assert_eq!(backlog.next(2), Some(Piece::Data(&[9; 4])));
    }

    #[test]
    fn after_a_broken_connection_the_next_attachment_begins_with_what_is_unread() {
        let mut backlog = Backlog::new(100);
        backlog.attach(1);
        backlog.ack(1, 0).unwrap();
        backlog.push(b"0123456789");
        assert!(backlog.next(1).is_some());
        backlog.ack(1, 4).unwrap();
        backlog.attach(2);
        backlog.detach_all();
        assert_eq!(backlog.attach(3), 4);
        backlog.ack(3, 4).unwrap();
        assert_eq!(backlog.next(3), Some(Piece::Data(b"456789")));
    }

    #[test]
    fn a_second_attachment_begins_at_the_end_and_leaves_the_unread_part_alone() {
        let mut backlog = Backlog::new(100);
        backlog.attach(1);
        backlog.push(b"abc");
        assert_eq!(backlog.attach(2), 3);
        backlog.detach(1);
        assert_eq!(backlog.kept(), 3);
        backlog.detach(2);
        assert_eq!(backlog.attach(3), 0);
    }

    #[test]
    fn what_comes_after_the_end_of_a_process_is_kept_for_its_open_reader_beyond_the_limit() {
        let mut backlog = Backlog::new(4);
        backlog.attach(1);
        backlog.ack(1, 0).unwrap();
        backlog.push(b"abcd");
        backlog.push(b"efgh");
        assert_eq!(backlog.room(), 0);
        let mut at = 0;
        assert_eq!(drain(&mut backlog, 1, &mut at), b"abcdefgh");
    }

    #[test]
    fn the_log_has_what_others_took_and_takes_nothing_from_them() {
        let mut backlog = Backlog::new(100);
        backlog.keep_for_log();
        backlog.attach(1);
        backlog.ack(1, 0).unwrap();
        backlog.push(b"0123456789");
        assert!(backlog.next(1).is_some());
        backlog.ack(1, 10).unwrap();
        assert_eq!(backlog.attach_log(2), 0, "although it was taken before there was a log");
        let mut at = 0;
        backlog.ack(2, 0).unwrap();
        assert_eq!(drain(&mut backlog, 2, &mut at), b"0123456789");
        backlog.push(b"ab");
        assert_eq!(drain(&mut backlog, 2, &mut at), b"ab");
        backlog.detach_all();
        assert_eq!(backlog.attach_log(3), 12);
        assert_eq!(backlog.attach(4), 10, "the log is nobody in the way, and took nothing");
        backlog.ack(4, 10).unwrap();
        assert_eq!(backlog.next(4), Some(Piece::Data(b"ab")));
    }

    #[test]
    fn a_log_that_is_slow_holds_nobody_up_and_is_told_what_it_missed() {
        let mut backlog = Backlog::new(4);
        backlog.keep_for_log();
        backlog.attach_log(1);
        backlog.ack(1, 0).unwrap();
        backlog.push(b"abcd");
        assert_eq!(backlog.room(), 4);
        backlog.push(b"ef");
        assert_eq!(backlog.next(1), Some(Piece::Dropped { from: 0, upto: 2 }));
        let mut seen = Vec::new();
        while let Some(Piece::Data(data)) = backlog.next(1) {
            seen.extend_from_slice(data);
        }
        assert_eq!(seen, b"cdef");
        backlog.ack(1, 3).unwrap();
        backlog.detach(1);
        assert_eq!(backlog.attach_log(2), 3);
    }

    proptest::proptest! {
        /// Whatever the order of events, one reader that acks what it got sees every offset once: as data or as dropped.
        #[test]
        fn every_byte_is_seen_once_or_told_as_dropped(
            steps in proptest::collection::vec((0u8..5, 1usize..40), 1..200), limit in 1usize..64,
        ) {
            let mut backlog = Backlog::new(limit);
            let (mut written, mut seen, mut attached) = (0u64, 0u64, None);
            for (number, (what, count)) in (1u32..).zip(steps) {
                match (what, attached) {
                    (0 | 1, _) => {
                        let count = count.min(backlog.room());
                        let bytes: Vec<u8> = (written..written + count as u64).map(|at| (at % 251) as u8).collect();
                        backlog.push(&bytes);
                        written += count as u64;
                    }
                    (2, None) => {
                        proptest::prop_assert_eq!(backlog.attach(number), seen);
                        attached = Some(number);
                    }
                    (3, Some(_)) => {
                        backlog.detach_all();
                        attached = None;
                    }
                    (_, Some(me)) => {
                        backlog.ack(me, seen).unwrap();
                        while let Some(piece) = backlog.next(me) {
                            match piece {
                                Piece::Dropped { from, upto } => {
                                    proptest::prop_assert_eq!(from, seen);
                                    seen = upto;
                                }
                                Piece::Data(data) => {
                                    for byte in data {
                                        proptest::prop_assert_eq!(*byte, (seen % 251) as u8);
                                        seen += 1;
                                    }
                                }
                                Piece::End => unreachable!("not finished"),
                            }
                        }
                        backlog.ack(me, seen).unwrap();
                        proptest::prop_assert_eq!(seen, written);
                    }
                    _ => {}
                }
                proptest::prop_assert!(backlog.kept() <= limit);
            }
        }
    }
}
