use super::*;

#[test]
fn a_url_loses_host_credentials_and_query_but_keeps_its_path() {
    assert_eq!(text("deb http://mirror.example/debian sid main"), "deb http://<mirror>/debian sid main");
    assert_eq!(text("https://user:s3cret@mirror.example:8443/x?token=abc#y"), "https://<mirror>/x?<redacted>");
    assert_eq!(text("see mirror+https://a.b.example/list.txt."), "see mirror+https://<mirror>/list.txt.");
    assert_eq!(text("at http://mirror.example, twice"), "at http://<mirror>, twice");
    assert_eq!(text("http://[2001:db8::1]:80/debian"), "http://<mirror>/debian");
    assert_eq!(text("file:///tmp/x and unix://host/y"), "file:///tmp/x and unix://host/y");
}

#[test]
fn passwords_with_any_characters_are_redacted() {
    for password in ["s3c\"ret", "s3c\u{1b}[1mret", "s3c%22ret", "s3c'ret", "s3c<ret>", "s3c@ret", "s3c:ret"] {
        let url = format!("http://user:{password}@mirror.example/debian");
        let shown = text(&format!("E: Failed to fetch {url}/dists/x"));
        assert_eq!(shown, "E: Failed to fetch http://<mirror>/debian/dists/x", "{password:?}");
        // A known password is hidden outside of its address, too, in every spelling.
        let known = Redactor::knowing([url.as_str()]);
        for spelling in spellings(password) {
            let shown = known.text(&format!("password {spelling} of mirror.example"));
            assert_eq!(shown, "password <redacted> of <mirror>", "{spelling:?}");
        }
    }
    let slash = Redactor::knowing(["https://user:s3c/ret@mirror.example:8443/debian"]);
    assert_eq!(slash.text("GET https://user:s3c/ret@mirror.example:8443/debian"), "GET https://<mirror>/debian");
}

#[test]
fn hosts_and_logins_without_a_scheme_are_redacted() {
    let known = Redactor::knowing(["mirror.example/debian", "https://proxy.example:3128", "http://[2001:db8::1]:80/"]);
    let shown = known.text("machine mirror.example login, by proxy.example:3128, at 2001:db8::1");
    assert_eq!(shown, "machine <mirror> login, by <mirror>:3128, at <mirror>");
    assert_eq!(text("try user:pw@mirror.example:80/debian"), "try <mirror>:80/debian");
    assert_eq!(text("(me:p\"w@mirror.example)"), "(<mirror>)");
    for unchanged in ["a@b.example", "pci:0000@0.1", "mail me: me@b.example", "/x:y@z.example"] {
        assert_eq!(text(unchanged), unchanged);
    }
}

#[test]
fn credentials_in_every_form_are_redacted_and_other_text_is_unchanged() {
    for (input, expected) in [
        ("fetching u:secret@host/debian", "fetching <mirror>/debian"),
        ("u:secret@host:3142/debian", "<mirror>:3142/debian"),
        ("u:secret@192.0.2.7 and u:secret@[2001:db8::1]:80/x", "<mirror> and <mirror>:80/x"),
        ("proxy=//u:secret@proxy.example:3128", "proxy=//<mirror>:3128"),
        ("of u:secret@mirror.example.", "of <mirror>."),
        ("sftp://u:secret@mirror.example/x", "sftp://<mirror>/x"),
        ("s3://key:secret@bucket/x", "s3://<mirror>/x"),
        ("git+https://u:secret@git.example/kata", "git+https://<mirror>/kata"),
        ("other://u:secret@host/x", "other://<mirror>/x"),
        ("https://u:a/secret@host", "https://<mirror>"),
        ("https://u:secret/a@b@host/x", "https://<mirror>/x"),
        ("https://u:secret@a/b@host/x", "https://<mirror>/x"),
        ("https://u:secret/a@mirror.example:80/x@y", "https://<mirror>/x@y"),
        ("https://u:secret@github.com/a/b@c", "https://github.com/a/b@c"),
        ("http://cache.example/https://u:secret@host/x", "http://<mirror>/https://<mirror>/x"),
        ("https://https://u:secret@host/x", "https://https://<mirror>/x"),
        ("https://u:secret@host/x@https://v:secret@host/y", "https://<mirror>/x@https://<mirror>/y"),
        ("url=https%3A%2F%2Fu%3Asecret%40host", "url=https%3A%2F%2F<mirror>"),
        ("GET /?to=https%3a%2f%2fu%3asecret%40host%2fx", "GET /?to=https%3a%2f%2f<mirror>%2fx"),
        ("to%3Dhttps%3A%2F%2Fu%3Aa%2Fsecret%40host%2Fx%3Fsecret&y", "to%3Dhttps%3A%2F%2F<mirror>%2Fx?<redacted>&y"),
        ("http://cache.example/https%3A%2F%2Fu%3Asecret%40host/x", "http://<mirror>/https%3A%2F%2F<mirror>/x"),
        ("https%3A%2F%2Fa.example%2F%3Fu%3Dhttps%3A%2F%2Fu%3Asecret%40host", "https%3A%2F%2F<mirror>%2F?<redacted>"),
        (
            "machine mirror.example login u password secret; mirror.example",
            "machine <mirror> login <redacted> password <redacted> <mirror>",
        ),
        (
            "machine mirror:80/debian\n  login u\n  password \"a secret\"\nend",
            "machine <mirror>:80/debian\n  login <redacted>\n  password <redacted>\nend",
        ),
        ("default login u password secret", "default login <redacted> password <redacted>"),
        (
            "machine https://mirror.example/x password secret login u",
            "machine https://<mirror>/x password <redacted> login <redacted>",
        ),
    ] {
        assert_eq!(text(input), expected, "{input}");
        assert_eq!(text(expected), expected, "what was redacted stays");
    }
    for unchanged in [
        "user@host",
        "write to: user@host/team, mailto:me@b.example",
        "debian:13@sha256:0123abcd",
        "docker.io/library/debian:13@sha256:0123abcd",
        "registry:5000/name:tag@sha256:0123abcd/x",
        "other://name:tag@sha256:0123abcd",
        "/a:b@c",
        "PATH=/a:b@c/d",
        "pci:0000@0.1/x of go:mod@v1.2/x",
        "https://github.com:443/a/@b/c",
        "50%2F %3A%2F%2F https%3A%2F%2Fgithub.com%2Fa%2Fb",
        "on this machine the login is asked for a password",
        "machine q35 password",
    ] {
        assert_eq!(text(unchanged), unchanged);
    }
}

#[test]
fn without_credentials_keeps_the_host_of_a_url() {
    for (input, expected) in [
        ("https://u:s3c/ret@mirror.example:80/x?token=s3cret", "https://<redacted>@mirror.example:80/x?<redacted>"),
        ("https://s3cret@mirror.example/x, twice", "https://<redacted>@mirror.example/x, twice"),
        ("to=https%3A%2F%2Fu%3As3cret%40mirror.example", "to=https%3A%2F%2F<redacted>@mirror.example"),
        ("try u:s3cret@mirror.example:80/debian", "try <mirror>:80/debian"),
        ("default login u\npassword s3cret", "default login <redacted>\npassword <redacted>"),
        ("at http://mirror.example:80, twice", "at http://mirror.example:80, twice"),
    ] {
        assert_eq!(without_credentials(input), expected, "{input}");
        assert_eq!(without_credentials(expected), expected, "what was redacted stays");
    }
}

#[test]
fn a_password_with_slashes_is_redacted_in_both_readings() {
    let known = Redactor::knowing(["https://user:pass@a.example/x@mirror.example/debian"]);
    assert_eq!(known.text("pass of a.example or mirror.example"), "<redacted> of <mirror> or <mirror>");
    let plain = Redactor::knowing(["https://mirror.example/debian@x"]);
    assert_eq!(plain.text("mirror.example"), "<mirror>");
}

#[test]
fn redacting_a_mebibyte_of_any_pattern_takes_under_20_seconds() {
    for part in [
        "x://",
        "x://y:z",
        "https://a.example/",
        "http://a/",
        "http://a:b@c/d@",
        "https%3A%2F%2Fa%2F",
        "u:p@[",
        "machine a password ",
    ] {
        let start = std::time::Instant::now();
        let _ = Redactor::default().mirrors(&part.repeat((1 << 20) / part.len()));
        assert!(start.elapsed().as_secs() < 20, "{part:?}: {:?}", start.elapsed());
    }
}

#[test]
fn a_redacted_log_keeps_all_bytes_except_mirrors() {
    let redactor = Redactor::knowing(["http://user:s3cret@mirror.example/"]);
    assert_eq!(redactor.log(b"\xff\x1b[1m plain\nlines\n"), None);
    let log = b"\xff raw\nGET http://user:s3cret@mirror.example/x\x1b[0m\n";
    assert_eq!(redactor.log(log).unwrap(), b"\xff raw\nGET http://<mirror>/x\x1b[0m\n");
}

#[test]
fn cited_sites_are_kept_but_their_credentials_are_redacted() {
    assert_eq!(text("https://bugs.debian.org/123"), "https://bugs.debian.org/123");
    assert_eq!(text("https://me:tok@github.com/a/b"), "https://github.com/a/b");
}

/// A log is read to find an error, and the web pages in it may explain it.
#[test]
fn a_web_page_in_a_log_is_kept_unless_its_host_is_a_mirror() {
    for unchanged in [
        "Documentation: https://www.freedesktop.org/wiki/Software/systemd/",
        "see https://virtio-fs.gitlab.io/howto.html, and www.kernel.org",
    ] {
        assert_eq!(text(unchanged), unchanged);
        assert_eq!(Redactor::new([unchanged]).text(unchanged), unchanged);
    }
    let page = "see https://wiki.lab.example/x";
    assert_eq!(Redactor::knowing(["https://wiki.lab.example/debian"]).text(page), "see https://<mirror>/x");
    let mut all = Redactor::default();
    all.learn_all("--kata https://wiki.lab.example/kata.tar");
    assert_eq!(all.text(&format!("{page} of wiki.lab.example")), "see https://<mirror>/x of <mirror>");
    // An address is not a web page if it is fetched, has a port, a login or no name, or is not `https`.
    for (input, expected) in [
        ("deb https://a.example/x sid main", "deb https://<mirror>/x sid main"),
        ("Err:1 https://a.example/x sid", "Err:1 https://<mirror>/x sid"),
        ("Failed to fetch https://a.example/x", "Failed to fetch https://<mirror>/x"),
        ("baseurl=https://a.example/x", "baseurl=https://<mirror>/x"),
        ("https_proxy=https://a.example/", "https_proxy=https://<mirror>/"),
        ("at https://a.example/dists/sid", "at https://<mirror>/dists/sid"),
        ("at https://a.example:8443/x", "at https://<mirror>/x"),
        ("at https://192.0.2.7/x", "at https://<mirror>/x"),
        ("at https://mirror/x", "at https://<mirror>/x"),
        ("at https://u:pw@a.example/x", "at https://<mirror>/x"),
        ("at http://a.example/x", "at http://<mirror>/x"),
    ] {
        assert_eq!(text(input), expected, "{input}");
    }
    let redacted = text("at https://a.example/x?token=s3cret");
    assert_eq!(redacted, "at https://a.example/x?<redacted>");
    assert_eq!(text(&redacted), redacted, "a bundle and a report are told again");
}

#[test]
fn a_host_known_from_a_url_is_redacted_everywhere() {
    let redactor = Redactor::new(["Err:1 http://Mirror.example/debian sid InRelease"]);
    assert_eq!(redactor.text("Could not resolve 'mirror.example'."), "Could not resolve '<mirror>'.");
    assert_eq!(redactor.text("lists/mirror.example_debian_dists"), "lists/<mirror>_debian_dists");
    assert_eq!(redactor.text("notmirror.example mirror.example.org"), "notmirror.example mirror.example.org");
}

#[test]
fn bare_hosts_and_addresses_in_apt_messages_are_redacted() {
    assert_eq!(
        text("Could not connect to mirror.example:80 (192.0.2.7), connection timed out [IP: 192.0.2.7 80]"),
        "Could not connect to <mirror>:80 (<mirror>), connection timed out [IP: <mirror> 80]"
    );
    assert_eq!(text("Temporary failure resolving 'mirror.example'"), "Temporary failure resolving '<mirror>'");
    assert_eq!(
        text("/var/lib/apt/lists/mirror.example_debian_InRelease"),
        "/var/lib/apt/lists/<mirror>_debian_InRelease"
    );
}

#[test]
fn escape_sequences_and_controls_are_removed_and_words_kept() {
    assert_eq!(text("\u{1b}[1;31mred\u{1b}[0m\u{0}\u{8} \u{1b}]0;title\u{7}x\u{ffff}\u{fffe}"), "red x");
    assert_eq!(text("\u{1b}]0;never ended\nnext line"), "\nnext line");
    assert_eq!(text("a\r\nb\rc\td"), "a\nb\nc\td");
    assert_eq!(text("\u{202e}gpj.exe"), "gpj.exe");
    assert_eq!(bytes(b"a\xff\x80b"), "a\u{fffd}\u{fffd}b");
}

#[test]
fn long_text_keeps_head_and_tail() {
    let long = format!("HEAD{}TAIL", "é".repeat(1 << 20));
    let short = text(&long);
    assert!(short.starts_with("HEAD") && short.ends_with("TAIL"), "{short}");
    assert!(short.contains("bytes left out") && short.len() < MAX_TEXT + 100);
    let many = bytes(&vec![b'x'; 10 << 20]);
    assert!(many.len() < MAX_TEXT + 100);
}

proptest::proptest! {
    #[test]
    fn any_bytes_become_printable_and_short(input: Vec<u8>) {
        let out = bytes(&input);
        proptest::prop_assert!(!out.chars().any(is_unprintable));
        proptest::prop_assert!(out.len() <= MAX_TEXT + 100);
    }

    #[test]
    fn a_host_in_a_url_is_redacted_in_any_text(before in "\\PC{0,20}", path in "[a-z/?]{0,9}", after in "\\PC{0,20}") {
        let input = format!("{before} https://u:p@secret.host.example/{path} {after} secret.host.example");
        let out = text(&input);
        proptest::prop_assert!(!out.contains("secret.host"), "{}", out);
        proptest::prop_assert!(!out.contains("u:p@"), "{}", out);
    }
}
