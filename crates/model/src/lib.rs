//! Run an exact integer model: one definition per operator, a scalar specification and a fast twin.
