//! What the administrator sees: data on stdout, everything else on stderr.
//!
//! Colour and progress bars are for terminals only. A reader that closes stdout early ends the command quietly; it is
//! no error. What to say is the commands' matter.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use clap::builder::styling::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::error::{Error, Result};

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// The options `-j` and `-y` of every command that prints data.
#[derive(Args, Clone, Copy, Debug)]
pub struct FormatArgs {
    /// Print JSON
    #[arg(short = 'j', long, conflicts_with = "yaml")]
    pub json: bool,
    /// Print YAML
    #[arg(short = 'y', long)]
    pub yaml: bool,
}

impl FormatArgs {
    /// The format asked for.
    pub fn format(self) -> Format {
        match (self.json, self.yaml) {
            (true, _) => Format::Json,
            (_, true) => Format::Yaml,
            _ => Format::Text,
        }
    }
}

/// The two streams, and what they can show.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    terminal: bool,
    colour: bool,
    verbose: bool,
}

impl Ui {
    /// Streams of this process; `verbose` is the option `-v`.
    pub fn new(verbose: bool) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let terminal = io::stdout().is_terminal();
        Ui {
            terminal,
            colour: terminal && !no_colour,
            verbose,
        }
    }

    /// Write bytes to stdout as they are.
    pub fn bytes(&self, data: &[u8]) -> Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(data).and_then(|()| out.flush()).map_err(Error::stdout)
    }

    /// Write one line of data to stdout.
    pub fn line(&self, text: &str) -> Result<()> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Write a text that came from elsewhere as a line of data to stdout: as it is for a program, and for a terminal
    /// without what steers that.
    pub fn text(&self, text: &str) -> Result<()> {
        match self.terminal {
            true => self.line(&harmless(text)),
            false => self.line(text),
        }
    }

    /// Write what a process in a container said to stdout or stderr: as it is for a program, and for a terminal without
    /// what steers that.
    pub fn output(&self, data: &[u8], to_stderr: bool) -> Result<()> {
        if !to_stderr {
            return match self.terminal {
                true => self.bytes(harmless(&String::from_utf8_lossy(data)).replace('\r', " ").as_bytes()),
                false => self.bytes(data),
            };
        }
        let mut err = io::stderr().lock();
        let written = match io::stderr().is_terminal() {
            true => err.write_all(harmless(&String::from_utf8_lossy(data)).replace('\r', " ").as_bytes()),
            false => err.write_all(data),
        };
        written.map_err(Error::stdout)
    }

    /// Write one line of data to stdout, coloured on a terminal.
    pub fn tinted(&self, tone: Tone, text: &str) -> Result<()> {
        let style = if self.colour { tone.style() } else { Style::new() };
        self.line(&format!("{style}{text}{style:#}"))
    }

    /// Write a value as one JSON or YAML document to stdout; [`Format::Text`] is written as YAML, which people can read.
    pub fn document(&self, format: Format, value: &impl Serialize) -> Result<()> {
        let text = match format {
            Format::Json => serde_json::to_string_pretty(value)
                .map(|text| text + "\n")
                .map_err(io::Error::from),
            Format::Yaml | Format::Text => yaml_serde::to_string(value).map_err(io::Error::other),
        };
        let text = text.map_err(|error| Error::failed("could not print the answer").because(error))?;
        match self.terminal {
            true => self.bytes(without_controls(&text).as_bytes()),
            false => self.bytes(text.as_bytes()),
        }
    }

    /// Write a table to stdout.
    pub fn table(&self, table: &Table) -> Result<()> {
        self.bytes(table.render(self.colour).as_bytes())
    }

    /// Say something on stderr. It may be several lines; what else steers a terminal is left out.
    pub fn say(&self, text: &str) {
        // Nobody is left to tell when stderr is gone.
        let _ = writeln!(io::stderr(), "{}", harmless(text));
    }

    /// Warn on stderr.
    pub fn warn(&self, text: &str) {
        self.say(&format!("WARNING: {text}"));
    }

    /// Say something on stderr where `-v` was given.
    pub fn detail(&self, text: &str) {
        if self.verbose {
            self.say(text);
        }
    }

    /// Show on stderr that something takes its time, until the answer is dropped. Silent where stderr is no terminal.
    pub fn progress(&self, text: &str) -> Progress {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target).with_message(plain(text));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress { bar }
    }
}

impl Ui {
    /// Show on stderr how several things go on, each on a line of its own, until the answer is dropped. Silent where stderr is no
    /// terminal.
    pub fn lines(&self) -> Lines {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let all = MultiProgress::with_draw_target(target);
        let first = all.add(spinner());
        Lines {
            all,
            first,
            others: Mutex::default(),
        }
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Lines on the terminal that show how several things go on; they vanish when dropped.
pub struct Lines {
    all: MultiProgress,
    first: ProgressBar,
    others: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Lines {
    /// Say what goes on as a whole, and with each of those that are under way, by name.
    pub fn set(&self, whole: &str, each: BTreeMap<String, String>) {
        self.first.set_message(plain(whole));
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.retain(|name, bar| {
            let goes_on = each.contains_key(name);
            if !goes_on {
                bar.finish_and_clear();
                self.all.remove(bar);
            }
            goes_on
        });
        for (name, text) in each {
            let line = plain(&format!("{name}: {text}"));
            others
                .entry(name)
                .or_insert_with(|| self.all.add(spinner()))
                .set_message(line);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // Nothing is left to say when the terminal is gone.
        let _ = self.all.clear();
    }
}

/// A document for a terminal: JSON and YAML leave some characters as they are that steer one.
fn without_controls(text: &str) -> String {
    let is_odd = |c: char| ('\u{7f}'..='\u{9f}').contains(&c);
    if !text.contains(is_odd) {
        return text.to_owned();
    }
    let plain = |c: char| {
        if is_odd(c) {
            format!("\\u{:04x}", u32::from(c))
        } else {
            c.to_string()
        }
    };
    text.chars().map(plain).collect()
}

/// Text that may be several lines; what else steers a terminal is left out.
fn harmless(text: &str) -> String {
    text.replace(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t'), " ")
}

/// Text for one line: what came from elsewhere must neither break it nor steer the terminal.
pub fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// A time as people read it: of this machine's zone, to the second.
pub fn time(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// A line on the terminal that shows that something goes on; it vanishes when dropped.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Say what goes on now.
    pub fn update(&self, text: &str) {
        self.bar.set_message(plain(text));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// How a row of a table looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As any other.
    Plain,
    /// In order.
    Good,
    /// On its way.
    Waiting,
    /// Not in order.
    Bad,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Tone::Plain => Style::new(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Waiting => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default(),
        }
    }
}

/// A table for people: a line of headings, then one line a row.
pub struct Table {
    table: comfy_table::Table,
    tones: Vec<Tone>,
}

impl Table {
    /// A table with these headings.
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        let mut table = comfy_table::Table::new();
        table
            .load_style(comfy_table::presets::NOTHING)
            .set_header(headings.map(str::to_uppercase));
        Table {
            table,
            tones: Vec::new(),
        }
    }

    /// Add a row.
    pub fn row<const N: usize>(&mut self, tone: Tone, cells: [&str; N]) {
        self.table.add_row(cells.map(plain));
        self.tones.push(tone);
    }

    fn render(&self, colour: bool) -> String {
        let tones = std::iter::once(Tone::Plain).chain(self.tones.iter().copied());
        let mut text = String::new();
        for (line, tone) in self.table.lines().zip(tones) {
            let line = line.trim();
            let style = if colour { tone.style() } else { Style::new() };
            text.push_str(&format!("{style}{line}{style:#}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["process", "state"]);
        table.row(Tone::Good, ["fence", "RUNNING"]);
        table.row(Tone::Bad, ["docker", "FATAL\n\u{1b}[2J"]);
        table
    }

    #[test]
    fn a_table_has_one_line_a_row_whatever_the_cells_hold() {
        assert_eq!(
            table().render(false),
            "PROCESS  STATE\nfence    RUNNING\ndocker   FATAL  [2J\n"
        );
    }

    #[test]
    fn a_document_steers_no_terminal() {
        assert_eq!(without_controls("{\"a\": \"\u{9b}2J\"}\n"), "{\"a\": \"\\u009b2J\"}\n");
        assert_eq!(without_controls("ü\n"), "ü\n");
    }

    #[test]
    fn a_colour_is_ended_on_its_line() {
        let text = table().render(true);
        assert!(text.lines().nth(1).unwrap().starts_with("\u{1b}[32mfence"), "{text:?}");
        assert!(text.lines().skip(1).all(|line| line.ends_with("\u{1b}[0m")), "{text:?}");
    }
}
