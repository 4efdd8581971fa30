//! The files of pgvector: put aside, and put back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::installation::Installation;

/// Control file and scripts of the name `vector` in a directory, and their contents.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).expect("the directory").flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let is_of_vector = name == "vector.control" || name.starts_with("vector--");
            is_of_vector.then(|| (name, fs::read(entry.path()).expect("a file")))
        })
        .collect()
}

#[test]
fn files_that_a_package_puts_over_ours_are_put_aside_and_come_back() {
    let Some(installation) = Installation::with_pgvector() else {
        return;
    };
    let scripts = installation.scripts();
    let aside = scripts.with_file_name("pgvector");
    let library = installation.library("vector");
    // A package may have links, too.
    let (link, target) = ("vector--0.7.4--0.8.0.sql", "../linked.sql");
    fs::rename(scripts.join(link), scripts.join(target)).expect("a script of pgvector");
    symlink(target, scripts.join(link)).expect("a link");
    let theirs = files(&scripts);
    let update = || {
        for (name, contents) in &theirs {
            let file = scripts.join(name);
            fs::remove_file(&file).ok();
            match name == link {
                true => symlink(target, &file).expect("a link"),
                false => fs::write(&file, contents).expect("a file"),
            }
        }
    };
    let headers = installation.headers().join("extension/vector");
    let headers = || {
        ["vector.h", "halfvec.h", "sparsevec.h"].map(|name| fs::read_to_string(headers.join(name)).expect("a header"))
    };
    let theirs_of_c = headers();
    let assert_back = || {
        assert_eq!(headers(), theirs_of_c);
        let mut back = files(&scripts);
        for name in ["vector--0.8.500--0.8.5.sql", "vector--0.8.5--0.8.500.sql"] {
            assert!(back.remove(name).is_some(), "{name}");
        }
        assert!(back.keys().eq(theirs.keys()), "{:?}", back.keys());
        assert_eq!(back, theirs);
    };
    let take_name = |option| installation.take_name(&[option]).expect("there are files of pgvector");

    take_name("--replace");
    assert!(headers().iter().all(|header| header.contains("pg_alopex")));
    let ours = files(&scripts);
    update();
    take_name("--replace");
    assert!(files(&aside).keys().eq(theirs.keys()), "{:?}", files(&aside).keys());
    assert!(files(&scripts).keys().eq(ours.keys()));
    take_name("--restore");
    assert_back();
    take_name("--restore");
    assert_back();

    // Nothing is put aside, and all is in place.
    take_name("--replace");
    update();
    fs::rename(aside.join("vector.so"), &library).expect("the library");
    for (name, contents) in ["vector.h", "halfvec.h", "sparsevec.h"].iter().zip(&theirs_of_c) {
        fs::write(installation.headers().join("extension/vector").join(name), contents).expect("a header");
    }
    fs::remove_dir_all(&aside).expect("the directory");
    take_name("--restore");
    assert_back();

    // Equal files of a package are in place and put aside.
    let library_of_package = fs::read(&library).expect("the library");
    take_name("--replace");
    update();
    fs::remove_file(&library).expect("the link");
    fs::write(&library, &library_of_package).expect("a library");
    take_name("--restore");
    assert_back();
}

#[test]
fn files_of_a_later_pgvector_stay_where_they_are() {
    let Some(installation) = Installation::with_pgvector() else {
        return;
    };
    let scripts = installation.scripts();
    let aside = scripts.with_file_name("pgvector");
    let library = installation.library("vector");
    let theirs = files(&scripts);
    let bytes = fs::read(&library).expect("the library");
    let take_name = |option| installation.take_name(&[option]);
    let install_library = |bytes: &[u8]| {
        fs::remove_file(&library).ok();
        fs::write(&library, bytes).expect("a library");
    };
    let state = || {
        let is_link = fs::read_link(&library).is_ok();
        (files(&scripts), files(&aside), is_link, fs::read(&library).ok())
    };
    let refuses = |named: [&str; 2]| {
        let before = state();
        let error = take_name("--restore").expect_err("the files are others");
        assert!(named.iter().all(|name| error.contains(name)), "{error}");
        assert!(error.contains("is not the file that was put aside"), "{error}");
        assert!(before == state());
    };

    // A package has put all of another version there; the user keeps it.
    take_name("--replace").expect("the name is taken");
    for (name, contents) in &theirs {
        fs::remove_file(scripts.join(name)).ok();
        fs::write(scripts.join(name), contents).expect("a script");
    }
    let control = String::from_utf8_lossy(&theirs["vector.control"]).replace("'0.8.5'", "'0.8.6'");
    fs::write(scripts.join("vector.control"), &control).expect("a control file");
    let later = [&bytes[..], b"later"].concat();
    install_library(&later);
    refuses(["of pgvector 0.8.6", "of pgvector 0.8.5"]);
    fs::remove_dir_all(&aside).expect("the directory");
    take_name("--restore").expect("nothing is put aside");
    assert_eq!(fs::read_to_string(scripts.join("vector.control")).ok(), Some(control));
    assert!(fs::read(&library).is_ok_and(|bytes| bytes == later));

    // The library alone, of a package that is then removed.
    take_name("--replace").expect("the name is taken");
    install_library(&bytes);
    refuses(["lib/postgresql/vector.so is not", "pgvector/vector.so"]);
    fs::remove_file(&library).expect("the library");
    take_name("--restore").expect("the files are put aside");
    assert!(fs::read(&library).is_ok_and(|bytes| bytes == later));
}

#[test]
fn files_of_an_earlier_pgvector_stay_put_aside() {
    let Some(installation) = Installation::with_pgvector() else {
        return;
    };
    let scripts = installation.scripts();
    let aside = scripts.with_file_name("pgvector");
    let library = installation.library("vector");
    let control = fs::read_to_string(scripts.join("vector.control")).expect("the control file");
    fs::write(scripts.join("vector.control"), control.replace("'0.8.5'", "'0.7.4'")).expect("a control file");
    installation.take_name(&["--replace"]).expect("the name is taken");
    let before = (files(&scripts), files(&aside));
    let error = installation.take_name(&["--restore"]).expect_err("no way leads back");
    assert!(
        error.contains("of pgvector 0.7.4") && error.contains("Nothing is changed"),
        "{error}"
    );
    assert!((files(&scripts), files(&aside)) == before);
    assert!(fs::read_link(&library).is_ok() && aside.join("vector.so").exists());
}
