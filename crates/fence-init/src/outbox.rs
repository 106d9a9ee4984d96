//! What may have to be sent without having been asked for: output for attachments, acknowledgements of input. Remembers
//! only where to look; what there is to send is in the table. Serves attachments in turns, one piece each.

use std::collections::BTreeSet;

use fence_init::protocol::{FromInit, Stream};

use crate::link::{Link, Lost};
use crate::output::Piece;
use crate::process::Process;
use crate::table::Table;

/// An attachment's view of one output: process, stream, attachment.
type Place = (u32, Stream, u32);

/// Where there may be something to send.
#[derive(Debug)]
pub struct Outbox {
    places: BTreeSet<Place>,
    /// The place that was served last; those behind it are next.
    served: Place,
    /// Processes whose input may have something to be acknowledged.
    inputs: BTreeSet<u32>,
}

impl Outbox {
    /// Nothing to send.
    pub fn new() -> Self {
        Self {
            places: BTreeSet::new(),
            served: (0, Stream::Stdout, 0),
            inputs: BTreeSet::new(),
        }
    }

    /// An output of the process has changed, or who reads it.
    pub fn output_changed(&mut self, process: &mut Process, stream: Stream) {
        let number = process.number;
        let attachments = process.output(stream).backlog.attachments();
        self.places
            .extend(attachments.map(|attachment| (number, stream, attachment)));
    }

    /// Both outputs of the process have changed.
    pub fn outputs_changed(&mut self, process: &mut Process) {
        self.output_changed(process, Stream::Stdout);
        self.output_changed(process, Stream::Stderr);
    }

    /// Input of the process came or was passed on.
    pub fn input_changed(&mut self, number: u32) {
        self.inputs.insert(number);
    }

    /// Nobody is there any more to send anything to.
    pub fn clear(&mut self) {
        self.places.clear();
        self.inputs.clear();
    }

    /// Queues what there is, as far as the connection has room, and says whether that was anything.
    pub fn send(&mut self, table: &mut Table, link: &mut Link) -> Result<bool, Lost> {
        let mut sent = false;
        if link.has_room() {
            for process in std::mem::take(&mut self.inputs) {
                if let Some(upto) = table.get(process).and_then(|process| process.input.ack()) {
                    link.send(&FromInit::InputAck { process, upto })?;
                    sent = true;
                }
            }
        }
        while link.has_room() {
            let behind = self.places.range(self.served..).find(|place| **place != self.served);
            let Some(place) = behind.or_else(|| self.places.first()).copied() else {
                break;
            };
            self.served = place;
            if send_piece(place, table, link)? {
                sent = true;
            } else {
                self.places.remove(&place);
            }
        }
        Ok(sent)
    }
}

/// Queues one piece; false where there is none.
fn send_piece((number, stream, attachment): Place, table: &mut Table, link: &mut Link) -> Result<bool, Lost> {
    // Who asked for a process hears of its start before its output.
    let Some(process) = table.get(number).filter(|process| process.visible()) else {
        return Ok(false);
    };
    match process.output(stream).backlog.next(attachment) {
        None => return Ok(false),
        Some(Piece::Data(data)) => link.send_output(attachment, stream, data)?,
        Some(Piece::Dropped { from, upto }) => link.send(&FromInit::Dropped {
            attachment,
            stream,
            from,
            upto,
        })?,
        Some(Piece::End) => link.send(&FromInit::StreamEnd { attachment, stream })?,
    }
    Ok(true)
}
