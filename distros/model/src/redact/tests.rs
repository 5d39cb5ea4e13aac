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
fn passwords_go_whatever_is_in_them() {
    for password in ["s3c\"ret", "s3c\u{1b}[1mret", "s3c%22ret", "s3c'ret", "s3c<ret>", "s3c@ret", "s3c:ret"] {
        let url = format!("http://user:{password}@mirror.example/debian");
        let shown = text(&format!("E: Failed to fetch {url}/dists/x"));
        assert_eq!(shown, "E: Failed to fetch http://<mirror>/debian/dists/x", "{password:?}");
        // Where it is known, also apart from its address, and however it is spelt.
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
fn hosts_and_logins_without_a_scheme_go() {
    let known = Redactor::knowing(["mirror.example/debian", "https://proxy.example:3128", "http://[2001:db8::1]:80/"]);
    let shown = known.text("machine mirror.example login, by proxy.example:3128, at 2001:db8::1");
    assert_eq!(shown, "machine <mirror> login, by <mirror>:3128, at <mirror>");
    assert_eq!(text("try user:pw@mirror.example:80/debian"), "try <mirror>:80/debian");
    assert_eq!(text("(me:p\"w@mirror.example)"), "(<mirror>)");
    for kept in ["a@b.example", "pci:0000@0.1", "mail me: me@b.example", "/x:y@z.example"] {
        assert_eq!(text(kept), kept);
    }
}

#[test]
fn a_log_keeps_its_bytes_but_for_mirrors() {
    let redactor = Redactor::knowing(["http://user:s3cret@mirror.example/"]);
    assert_eq!(redactor.log(b"\xff\x1b[1m plain\nlines\n"), None);
    let log = b"\xff raw\nGET http://user:s3cret@mirror.example/x\x1b[0m\n";
    assert_eq!(redactor.log(log).unwrap(), b"\xff raw\nGET http://<mirror>/x\x1b[0m\n");
}

#[test]
fn pages_that_one_cites_stay_but_their_credentials_go() {
    assert_eq!(text("https://bugs.debian.org/123"), "https://bugs.debian.org/123");
    assert_eq!(text("https://me:tok@github.com/a/b"), "https://github.com/a/b");
}

#[test]
fn a_host_known_from_a_url_goes_everywhere() {
    let redactor = Redactor::new(["Err:1 http://Mirror.example/debian sid InRelease"]);
    assert_eq!(redactor.text("Could not resolve 'mirror.example'."), "Could not resolve '<mirror>'.");
    assert_eq!(redactor.text("lists/mirror.example_debian_dists"), "lists/<mirror>_debian_dists");
    assert_eq!(redactor.text("notmirror.example mirror.example.org"), "notmirror.example mirror.example.org");
}

#[test]
fn apt_gives_a_bare_host_and_its_address_away() {
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
fn escapes_and_controls_go_and_words_stay() {
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
    fn any_text_with_urls_keeps_no_host(before in "\\PC{0,20}", path in "[a-z/?]{0,9}", after in "\\PC{0,20}") {
        let input = format!("{before} https://u:p@secret.host.example/{path} {after} secret.host.example");
        let out = text(&input);
        proptest::prop_assert!(!out.contains("secret.host"), "{}", out);
        proptest::prop_assert!(!out.contains("u:p@"), "{}", out);
    }
}
