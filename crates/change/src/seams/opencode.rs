//! Placeholder.
use super::{Seam, no_props, nothing};
pub(super) const SEAM: Seam = Seam { client: "opencode", program: "opencode", has_managed: false, files: |_| Vec::new(), start: None, props: no_props, next: nothing };
