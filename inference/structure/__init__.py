"""What one run of a pair tells: sites, plates, kinds of site, machines, support."""
