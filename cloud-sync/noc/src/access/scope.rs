//! Whose rows may be read. What shows rows to somebody takes a [`Scope`], and for a person there is one way to get it: from who
//! the person is. So nobody can forget to ask.

use crate::ledger::Arg;
use vigil_core::id::TenantId;

/// One tenant's rows, or those of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope(Option<TenantId>);

impl Scope {
    /// What a person of that tenant may see. Only [`super::Person::scope`] makes it.
    pub(super) const fn of(tenant: Option<TenantId>) -> Self {
        Self(tenant)
    }

    /// Everything: for the receiver's own work, never for an answer to somebody.
    pub const fn whole() -> Self {
        Self(None)
    }

    /// Whether that tenant's rows are among them.
    pub fn holds(&self, tenant: &str) -> bool {
        self.0.as_ref().is_none_or(|own| own.as_str() == tenant)
    }

    /// The condition for a statement whose table has the tenant in `column`: ` AND tenant = $3`, or nothing. What it needs is
    /// added to `args`. Two texts, so that a database takes its index by tenant for the one and not for the other.
    pub fn and_tenant<'a>(&'a self, column: &str, args: &mut Vec<Arg<'a>>) -> String {
        let Some(tenant) = &self.0 else { return String::new() };
        args.push(Arg::Text(tenant.as_str()));
        format!(" AND {column} = ${}", args.len())
    }

    /// The same for a table that has the tenant only as the first part of its place.
    pub fn and_place<'a>(&'a self, column: &str, args: &mut Vec<Arg<'a>>) -> String {
        let Some(tenant) = &self.0 else { return String::new() };
        let part = tenant.as_str();
        args.push(Arg::Text(part));
        // An id has no slash in it, so what stands before the first one is the tenant.
        let (length, number) = (part.len(), args.len());
        format!(
            " AND substr({column}, 1, {length}) = ${number} AND substr({column}, {}, 1) = '/'",
            length + 1
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_has_no_condition_and_a_tenant_has_one() {
        let (acme, mut args) = (Scope::of(Some(TenantId::new("acme").unwrap())), vec![Arg::Int(1)]);
        assert_eq!(acme.and_tenant("tenant", &mut args), " AND tenant = $2");
        assert_eq!(
            acme.and_place("place", &mut args),
            " AND substr(place, 1, 4) = $3 AND substr(place, 5, 1) = '/'"
        );
        assert_eq!(args, [Arg::Int(1), Arg::Text("acme"), Arg::Text("acme")]);
        assert_eq!((acme.holds("acme"), acme.holds("acme2"), acme.holds("")), (true, false, false));
        let (whole, mut none) = (Scope::whole(), vec![]);
        assert_eq!(whole.and_tenant("tenant", &mut none) + &whole.and_place("place", &mut none), "");
        assert!(none.is_empty() && whole.holds("acme"));
    }
}
