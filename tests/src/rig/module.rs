//! Another PKCS#11 module between a server and its token.

use std::path::Path;

use super::Rig;

impl Rig {
    /// Let this CA's servers use `module` from the next start on; the module they used, which it is to stand before.
    pub(super) fn through(&self, module: &Path) -> String {
        let text = std::fs::read_to_string(self.path("server.toml")).expect("server.toml");
        let table: toml::Table = text.parse().expect("TOML");
        let uri = table
            .get("hsm")
            .and_then(|hsm| hsm.get("uri")?.as_str())
            .expect("a URI");
        let (token, before) = uri.split_once("?module-path=").expect("a module path");
        let uri = format!("{token}?module-path={}", module.display());
        self.configure(&[("hsm".into(), "uri".into(), uri.into())]);
        before.to_owned()
    }
}
