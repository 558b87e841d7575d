// How many bytes keys have, and what is made with them, wherever they stand.

/** A key of Ed25519 or X25519, public or secret, and one of ChaCha20-Poly1305. */
export const KEY_BYTES = 32;
/** A public key of libsignal: X25519 behind a byte for its kind. */
export const SIGNAL_KEY_BYTES = 33;
/** A public key of Kyber1024, behind the same. */
export const KYBER_KEY_BYTES = 1569;
/** A signature of Ed25519, and of libsignal. */
export const SIGNATURE_BYTES = 64;
/** A hash of SHA-256. */
export const HASH_BYTES = 32;
/** A nonce of ChaCha20-Poly1305. */
export const NONCE_BYTES = 12;
/** What ChaCha20-Poly1305 adds. */
export const TAG_BYTES = 16;
/** What a password or a passphrase is stretched with. */
export const SALT_BYTES = 16;
