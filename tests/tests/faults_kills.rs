//! The daemon is killed 20 times at each of its fault points, under a load of four clients: nothing that was acknowledged is
//! missing afterwards, and nothing else is left.

use std::collections::BTreeSet;

use tests::torture::{Torture, points};

const TIMES: u64 = 20;
const SEED: u64 = 2026;
/// Each client compares what it knows after every kill; everything together is compared after so many points.
const BETWEEN_CHECKS: usize = 3;

/// Operations whose points are one test's; the tests run side by side.
const FIRST: &[&str] = &["create", "boot"];
const SECOND: &[&str] = &["destroy", "ports", "rules"];
const THIRD: &[&str] = &["start", "stop", "run"];
const FOURTH: &[&str] = &["adopt", "compare", "image", "inventory"];

fn of(operations: &[&str]) -> Vec<String> {
    let is_one = |point: &String| operations.iter().any(|it| point.split('/').next() == Some(it));
    points::all().into_iter().filter(is_one).collect()
}

fn killed_at_all_points_of(operations: &[&str]) {
    let mut torture = Torture::new(SEED);
    for points in of(operations).chunks(BETWEEN_CHECKS) {
        for point in points {
            torture.kill_at(point, TIMES);
            assert_eq!(torture.kills()[point], TIMES, "{point}");
        }
        torture.check();
    }
    torture.destroy_all();
    torture.check();
}

#[test]
fn every_point_is_somebodys() {
    let all: BTreeSet<String> = points::all().into_iter().collect();
    let tested: BTreeSet<String> = [FIRST, SECOND, THIRD, FOURTH].into_iter().flat_map(of).collect();
    assert!(all.len() > 40, "{} points were found", all.len());
    assert_eq!(tested, all);
}

#[test]
fn a_create_survives_kills() {
    killed_at_all_points_of(FIRST);
}

#[test]
fn a_destroy_and_ports_survive_kills() {
    killed_at_all_points_of(SECOND);
}

#[test]
fn processes_survive_kills() {
    killed_at_all_points_of(THIRD);
}

#[test]
fn starts_images_and_records_survive_kills() {
    killed_at_all_points_of(FOURTH);
}
