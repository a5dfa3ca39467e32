"""What goes over the wire, as pure functions: nothing here touches a socket or a clock."""
