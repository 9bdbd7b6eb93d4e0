"""The networks that are descended to: the published autoencoder, alone or on a closed form."""
