//! Which of the unused images go. Pure.

use std::collections::HashMap;

use engine::Image;

use super::super::told::Disk;
use super::Policy;

/// An image that nobody uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate<'a> {
    pub(super) image: &'a Image,
    /// For how many seconds.
    pub(super) unused: u64,
}

/// How many bytes have to come free, whatever else holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pressure(pub(super) u64);

impl Pressure {
    /// What is beyond this share of the disk.
    pub(super) fn of(disk: &Disk, percent: u64) -> Self {
        let used = disk.size.saturating_sub(disk.free);
        Pressure(used.saturating_sub(disk.size / 100 * percent.min(100)))
    }
}

/// What an image is called: its tags, else its digests, else its id.
pub(super) fn names_of(image: &Image) -> Vec<String> {
    match (image.tags.is_empty(), image.digests.is_empty()) {
        (false, _) => image.tags.clone(),
        (true, false) => image.digests.clone(),
        (true, true) => vec![image.id.0.clone()],
    }
}

/// Those to remove, the longest unused first.
pub(super) fn to_remove<'a>(candidates: &[Candidate<'a>], policy: &Policy, pressure: Pressure) -> Vec<&'a Image> {
    let mut newest_first = candidates.to_vec();
    newest_first.sort_by(|a, b| {
        a.unused
            .cmp(&b.unused)
            .then_with(|| b.image.created.cmp(&a.image.created))
    });
    let mut seen: HashMap<String, usize> = HashMap::new();
    // The last ones of each name stay, and those that are young.
    let goes = newest_first.iter().map(|candidate| {
        let seen = seen.entry(repository(candidate.image)).or_default();
        *seen += 1;
        *seen > policy.keep && candidate.unused >= policy.min_age.as_secs()
    });
    let goes: Vec<bool> = goes.collect();
    let mut freed = 0_u64;
    let mut gone = Vec::new();
    for (candidate, goes) in newest_first.into_iter().zip(goes).rev() {
        if goes || freed < pressure.0 {
            freed = freed.saturating_add(candidate.image.size_bytes);
            gone.push(candidate.image);
        }
    }
    gone
}

/// The name without what tells its versions apart.
fn repository(image: &Image) -> String {
    let name = image.tags.first().or(image.digests.first());
    let parsed = name.and_then(|name| name.parse::<engine::ImageName>().ok());
    parsed.map_or_else(String::new, |name| name.repository().to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn image(tag: &str, size: u64) -> Image {
        Image {
            id: engine::ImageId(format!("sha256:{tag}")),
            tags: vec![format!("core:5000/{tag}")],
            digests: vec![format!("core:5000/{tag}@sha256:{}", "0".repeat(64))],
            size_bytes: size,
            created: String::new(),
            os: String::new(),
            architecture: String::new(),
            command: Vec::new(),
            env: Vec::new(),
            user: String::new(),
            working_dir: String::new(),
            exposed_ports: Vec::new(),
            volumes: Vec::new(),
            labels: engine::Labels::new(),
        }
    }

    fn gone(images: &[(&Image, u64)], keep: usize, pressure: u64) -> Vec<String> {
        let candidates: Vec<Candidate> = images
            .iter()
            .map(|(image, unused)| Candidate { image, unused: *unused })
            .collect();
        let policy = Policy {
            keep,
            min_age: Duration::from_secs(100),
            ..Policy::default()
        };
        let gone = to_remove(&candidates, &policy, Pressure(pressure));
        gone.iter().map(|image| image.tags[0].clone()).collect()
    }

    #[test]
    fn the_last_ones_of_a_name_and_young_ones_stay() {
        let (a, b, c, other) = (image("x:1", 1), image("x:2", 1), image("x:3", 1), image("y:1", 1));
        let all = [(&a, 300), (&b, 200), (&c, 50), (&other, 900)];
        assert_eq!(gone(&all, 1, 0), ["core:5000/x:1", "core:5000/x:2"]);
        assert_eq!(gone(&all, 2, 0), ["core:5000/x:1"]);
        assert_eq!(gone(&all, 0, 0), ["core:5000/y:1", "core:5000/x:1", "core:5000/x:2"]);
        assert_eq!(gone(&all, 3, 0), Vec::<String>::new());
    }

    #[test]
    fn a_full_disk_takes_the_longest_unused_first_and_no_more_than_it_needs() {
        let (a, b, c) = (image("x:1", 10), image("x:2", 10), image("x:3", 10));
        let all = [(&a, 30), (&b, 20), (&c, 10)];
        assert_eq!(gone(&all, 3, 11), ["core:5000/x:1", "core:5000/x:2"]);
        assert_eq!(gone(&all, 3, 0), Vec::<String>::new());
    }

    #[test]
    fn a_disk_is_under_pressure_beyond_its_share() {
        let disk = Disk { size: 1000, free: 50 };
        assert_eq!(Pressure::of(&disk, 85), Pressure(100));
        assert_eq!(Pressure::of(&disk, 100), Pressure(0));
        assert_eq!(Pressure::of(&Disk { size: 1000, free: 500 }, 85), Pressure(0));
    }
}
