//! What config makes of any text as a value: as a key's type has it, as JSON and as YAML.
#![no_main]

use cluster::config::input::{Format, read};
use cluster::config::{Component, KeyPath, Schema, Target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (u8, &str)| {
    let keys = ["docker/image", "docker/privileged", "max_containers", "garden/listen", "unheard/of"];
    let (which, text) = data;
    let component = Component::new("fence").expect("a component");
    let path = KeyPath::parse(keys[usize::from(which) % keys.len()]).expect("a key");
    let target = Target::key(&component, &path).expect("a key of a component");
    for format in [Format::Assumed, Format::Json, Format::Yaml] {
        let _ = read(Schema::standard(), &target, text, format);
    }
});
