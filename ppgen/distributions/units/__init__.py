"""What a layer of a machine is made of: the protocol of units, one type a file."""
