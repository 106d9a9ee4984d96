//! Contexts of directories as they are met: what is in the archive, under which name, and how it ends where it cannot go on.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::AsyncReadExt;

use super::*;

fn folder(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    folder
}

/// What an archive has: each name, with its link's target and its content.
async fn entries(archive: TarStream) -> Vec<(PathBuf, Option<PathBuf>, Vec<u8>)> {
    let mut archive = tokio_tar::Archive::new(archive);
    let mut entries = archive.entries().unwrap();
    let mut all = Vec::new();
    while let Some(entry) = entries.next().await {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().into_owned();
        let target = entry.link_name().unwrap().map(|target| target.into_owned());
        let mut content = Vec::new();
        entry.read_to_end(&mut content).await.unwrap();
        all.push((name, target, content));
    }
    all
}

/// The archive of the directory, whose recipe is here.
fn archive(directory: &Path, dockerfile: &str) -> Result<TarStream> {
    super::archive(directory, &recipe(directory, dockerfile)?)
}

async fn names(directory: &Path, dockerfile: &str) -> Vec<String> {
    let all = entries(archive(directory, dockerfile).unwrap()).await;
    all.iter().map(|(name, ..)| name.display().to_string()).collect()
}

#[tokio::test]
async fn all_that_is_not_left_out_is_in_it() {
    let folder = folder(&["Dockerfile.x64", "src/main.c", ".git/config", "keep/a.log", "a.log"]);
    std::os::unix::fs::symlink("/etc/shadow", folder.path().join("link")).unwrap();
    let patterns = ".git\n**/*.log\n!keep/a.log\nDockerfile*\n";
    fs::write(folder.path().join(PATTERNS), patterns).unwrap();
    let expected = [
        ".dockerignore",
        "Dockerfile.x64",
        "keep/",
        "keep/a.log",
        "link",
        "src/",
        "src/main.c",
    ];
    assert_eq!(names(folder.path(), "Dockerfile.x64").await, expected);
}

#[tokio::test]
async fn a_recipe_below_what_stays_out_is_in_it() {
    let folder = folder(&["build/x/Dockerfile", "build/x/other", "build/y/z", "a"]);
    fs::write(folder.path().join(PATTERNS), "build\n").unwrap();
    for given in ["build/x/Dockerfile", "./build/y/../x//Dockerfile"] {
        let expected = [".dockerignore", "a", "build/x/Dockerfile"];
        assert_eq!(names(folder.path(), given).await, expected, "{given}");
    }
    // The engine reads the patterns, to leave the recipe out of the image where they say so.
    fs::write(folder.path().join(PATTERNS), "*\n").unwrap();
    let expected = [".dockerignore", "build/x/Dockerfile"];
    assert_eq!(names(folder.path(), "build/x/Dockerfile").await, expected);
}

#[tokio::test]
async fn without_its_recipe_there_is_none() {
    let folder = folder(&["in/a", "Dockerfile"]);
    let failed = |dockerfile| archive(&folder.path().join("in"), dockerfile).err().unwrap().kind();
    assert_eq!(failed("Dockerfile"), crate::Kind::NotFound);
    assert_eq!(failed("../Dockerfile"), crate::Kind::Refused);
    assert_eq!(failed("/etc/passwd"), crate::Kind::Refused);
}

#[tokio::test]
async fn patterns_that_are_none_end_it() {
    let folder = folder(&["Dockerfile"]);
    fs::write(folder.path().join(PATTERNS), "a\n[b\n").unwrap();
    let error = archive(folder.path(), "Dockerfile").err().unwrap();
    assert!(error.to_string().starts_with("line 2 of .dockerignore"), "{error}");
}

#[tokio::test]
async fn names_and_targets_of_links_may_be_long_and_need_not_be_text() {
    let folder = folder(&["Dockerfile"]);
    let deep = format!("{0}/{0}/{0}", "d".repeat(90));
    fs::create_dir_all(folder.path().join(&deep)).unwrap();
    let odd = OsString::from_vec([b"\xff\xfe".as_slice(), &[b'n'; 150]].concat());
    fs::write(folder.path().join(&odd), "odd").unwrap();
    fs::write(folder.path().join(&deep).join("file"), "deep").unwrap();
    let target = PathBuf::from(format!("{deep}/./file"));
    for (name, target) in [
        ("long".to_owned(), target.as_path()),
        ("l".repeat(200), target.as_path()),
        ("other".to_owned(), Path::new(&odd)),
        ("exact".to_owned(), Path::new(&"e".repeat(100))),
    ] {
        std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();
    }
    let all = entries(archive(folder.path(), "Dockerfile").unwrap()).await;
    let find = |name: &OsStr| all.iter().find(|(is, ..)| is == Path::new(name)).unwrap();
    assert_eq!(find(OsStr::new("long")).1.as_deref(), Some(target.as_path()));
    assert_eq!(find(OsStr::new(&"l".repeat(200))).1.as_deref(), Some(target.as_path()));
    assert_eq!(find(OsStr::new("other")).1.as_deref(), Some(Path::new(&odd)));
    assert_eq!(find(OsStr::new("exact")).1, Some(PathBuf::from("e".repeat(100))));
    assert_eq!(find(&odd).2, b"odd");
    assert_eq!(find(OsStr::new(&format!("{deep}/file"))).2, b"deep");
    // GNU's tar understands it as well.
    let mut whole = Vec::new();
    let mut again = archive(folder.path(), "Dockerfile").unwrap();
    again.read_to_end(&mut whole).await.unwrap();
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("x.tar");
    fs::write(&file, &whole).unwrap();
    let mut tar = std::process::Command::new("tar");
    tar.arg("-C").arg(out.path()).arg("-xf").arg(&file);
    assert!(tar.status().unwrap().success());
    assert_eq!(fs::read(out.path().join(&odd)).unwrap(), b"odd");
    assert_eq!(fs::read_link(out.path().join("l".repeat(200))).unwrap(), target);
}

/// An archive of a large file whose beginning was read.
async fn begun() -> (tempfile::TempDir, TarStream, Vec<u8>) {
    let folder = folder(&["Dockerfile", "z"]);
    fs::write(folder.path().join("large"), vec![b'x'; 4 << 20]).unwrap();
    let mut archive = archive(folder.path(), "Dockerfile").unwrap();
    let mut first = vec![0; 64 << 10];
    archive.read_exact(&mut first).await.unwrap();
    (folder, archive, first)
}

#[tokio::test]
async fn a_file_that_grows_is_what_it_was() {
    let (folder, mut archive, mut whole) = begun().await;
    let mut large = fs::File::options()
        .append(true)
        .open(folder.path().join("large"))
        .unwrap();
    large.write_all(&vec![b'y'; 1 << 20]).unwrap();
    archive.read_to_end(&mut whole).await.unwrap();
    let all = entries(Box::pin(io::Cursor::new(whole))).await;
    let names: Vec<String> = all.iter().map(|(name, ..)| name.display().to_string()).collect();
    assert_eq!(names, ["Dockerfile", "large", "z"]);
    assert!(all[1].2.len() == 4 << 20 && all[1].2.iter().all(|byte| *byte == b'x'));
}

#[tokio::test]
async fn a_file_that_shrinks_or_goes_ends_it_with_an_error_that_names_it() {
    let (folder, mut archive, mut whole) = begun().await;
    let large = fs::File::options()
        .write(true)
        .open(folder.path().join("large"))
        .unwrap();
    large.set_len(1 << 20).unwrap();
    let error = archive.read_to_end(&mut whole).await.unwrap_err().to_string();
    assert!(error.contains("/large: it became 3145728 bytes shorter"), "{error}");

    let (folder, mut archive, mut whole) = begun().await;
    fs::remove_file(folder.path().join("z")).unwrap();
    let error = archive.read_to_end(&mut whole).await.unwrap_err().to_string();
    assert!(error.contains("/z: "), "{error}");
}

#[tokio::test]
async fn a_context_has_its_bound() {
    let folder = folder(&["a", "b"]);
    let (mut reader, writer) = tokio::io::duplex(1 << 20);
    let paths = ["a", "b"].map(PathBuf::from).to_vec();
    let made = entry::all(folder.path().to_path_buf(), paths, 1, writer).await;
    assert!(made.unwrap_err().to_string().contains("more than 1 bytes"));
    let mut half = Vec::new();
    reader.read_to_end(&mut half).await.unwrap();
    assert_eq!(half.len(), 1024, "one file, and no end of an archive");
}

#[tokio::test]
async fn nobody_makes_it_when_nobody_reads_it_any_more() {
    let (folder, archive, _) = begun().await;
    let large = fs::canonicalize(folder.path().join("large")).unwrap();
    let is_open = || {
        let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
        let mut open = open.filter_map(|file| fs::read_link(file.path()).ok());
        open.any(|file| file == large)
    };
    assert!(is_open());
    drop(archive);
    let gone = async {
        while is_open() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
}
