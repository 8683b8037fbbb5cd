#include "block/nbd/libnbd.h"

#include "base/shared_library.h"

namespace doppel::block::nbd {

Result<std::shared_ptr<const Libnbd>> Libnbd::load() {
  DOPPEL_ASSIGN(const SharedLibrary library, SharedLibrary::load("libnbd.so.0", "NBD", "libnbd0"));
  auto nbd = std::make_shared<Libnbd>();
  DOPPEL_TRY(library.find("nbd_create", nbd->create));
  DOPPEL_TRY(library.find("nbd_close", nbd->close));
  DOPPEL_TRY(library.find("nbd_get_error", nbd->get_error));
  DOPPEL_TRY(library.find("nbd_get_errno", nbd->get_errno));
  DOPPEL_TRY(library.find("nbd_set_export_name", nbd->set_export_name));
  DOPPEL_TRY(library.find("nbd_set_full_info", nbd->set_full_info));
  DOPPEL_TRY(library.find("nbd_set_pread_initialize", nbd->set_pread_initialize));
  DOPPEL_TRY(library.find("nbd_set_uri_allow_local_file", nbd->set_uri_allow_local_file));
  DOPPEL_TRY(library.find("nbd_set_opt_mode", nbd->set_opt_mode));
  DOPPEL_TRY(library.find("nbd_set_tls", nbd->set_tls));
  DOPPEL_TRY(library.find("nbd_set_tls_certificates", nbd->set_tls_certificates));
  DOPPEL_TRY(library.find("nbd_set_tls_psk_file", nbd->set_tls_psk_file));
  DOPPEL_TRY(library.find("nbd_add_meta_context", nbd->add_meta_context));
  DOPPEL_TRY(library.find("nbd_aio_connect_uri", nbd->aio_connect_uri));
  DOPPEL_TRY(library.find("nbd_aio_connect_tcp", nbd->aio_connect_tcp));
  DOPPEL_TRY(library.find("nbd_aio_connect_unix", nbd->aio_connect_unix));
  DOPPEL_TRY(library.find("nbd_poll", nbd->poll));
  DOPPEL_TRY(library.find("nbd_aio_is_connecting", nbd->aio_is_connecting));
  DOPPEL_TRY(library.find("nbd_aio_is_ready", nbd->aio_is_ready));
  DOPPEL_TRY(library.find("nbd_aio_is_negotiating", nbd->aio_is_negotiating));
  DOPPEL_TRY(library.find("nbd_aio_is_dead", nbd->aio_is_dead));
  DOPPEL_TRY(library.find("nbd_aio_is_closed", nbd->aio_is_closed));
  DOPPEL_TRY(library.find("nbd_aio_get_fd", nbd->aio_get_fd));
  DOPPEL_TRY(library.find("nbd_aio_get_direction", nbd->aio_get_direction));
  DOPPEL_TRY(library.find("nbd_aio_notify_read", nbd->aio_notify_read));
  DOPPEL_TRY(library.find("nbd_aio_notify_write", nbd->aio_notify_write));
  DOPPEL_TRY(library.find("nbd_aio_pread", nbd->aio_pread));
  DOPPEL_TRY(library.find("nbd_aio_pwrite", nbd->aio_pwrite));
  DOPPEL_TRY(library.find("nbd_aio_flush", nbd->aio_flush));
  DOPPEL_TRY(library.find("nbd_aio_trim", nbd->aio_trim));
  DOPPEL_TRY(library.find("nbd_aio_zero", nbd->aio_zero));
  DOPPEL_TRY(library.find("nbd_aio_block_status", nbd->aio_block_status));
  DOPPEL_TRY(library.find("nbd_aio_disconnect", nbd->aio_disconnect));
  DOPPEL_TRY(library.find("nbd_is_read_only", nbd->is_read_only));
  DOPPEL_TRY(library.find("nbd_can_flush", nbd->can_flush));
  DOPPEL_TRY(library.find("nbd_can_trim", nbd->can_trim));
  DOPPEL_TRY(library.find("nbd_can_zero", nbd->can_zero));
  DOPPEL_TRY(library.find("nbd_can_meta_context", nbd->can_meta_context));
  DOPPEL_TRY(library.find("nbd_get_size", nbd->get_size));
  DOPPEL_TRY(library.find("nbd_get_block_size", nbd->get_block_size));
  return nbd;
}

}  // namespace doppel::block::nbd
