//! A certificate whose issuer is not in the file.

use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair};

use super::*;

#[test]
fn n67_a_certificate_without_the_one_of_its_issuer_is_told() {
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.clone(), Issuer::new(params, KeyPair::generate().unwrap()))
    };
    let ((_, by_root), (intermediate, by_intermediate)) = (authority("Root"), authority("R3"));
    let intermediate = intermediate.signed_by(by_intermediate.key(), &by_root).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    // The address of the issuer's certificate (RFC 5280 section 4.2.2.1), as public authorities write it.
    let address = b"\x30\x15\x30\x13\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x02\x86\x07http:/a";
    let address = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], address.to_vec());
    let leaf = |extensions: Vec<CustomExtension>| {
        let mut params = CertificateParams::new(["mx.example.test".to_owned()]).unwrap();
        params.custom_extensions = extensions;
        params.signed_by(&key, &by_intermediate).unwrap().pem()
    };
    let story = Story::new();
    story.configure("", &format!("{STRICT}[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n"));
    write_private(&story.at("key.pem"), &key.serialize_pem());
    let public = leaf(vec![address]);
    for (text, told) in [
        (public.clone(), "# warning: the certificate "),
        (leaf(Vec::new()), "# note: the certificate "),
        (format!("{public}{intermediate}"), ""),
    ] {
        write_private(&story.at("cert.pem"), &text);
        let (code, said) = story.check(&[]);
        assert!(code == Some(0) && said.contains(told), "{told:?} is not in {said:?}");
        let has_sentence = said.contains("comes without the certificate of \"R3\", which has signed it");
        assert_eq!(has_sentence, !told.is_empty(), "{said}");
    }
    write_private(&story.at("cert.pem"), &public);
    write_private(&story.at("fullchain.pem"), &format!("{public}{intermediate}"));
    let (_, said) = story.check(&[]);
    assert!(said.contains("/fullchain.pem instead, which has both"), "{said}");
}
