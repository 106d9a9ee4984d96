//! What config makes of any text as a key or a name: printed, it is the same again.
#![no_main]

use cluster::config::{KeyPath, Name};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(path) = KeyPath::parse(text) {
        assert_eq!(KeyPath::parse(&path.to_string()), Ok(path));
    }
    if let Ok(name) = Name::new(text) {
        assert_eq!(Name::new(&name.to_string()), Ok(name));
    }
});
