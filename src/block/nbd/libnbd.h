// The functions of libnbd that are used, loaded with the first NBD disk: the library brings many others along.
#pragma once

#include <libnbd.h>

#include <memory>
#include <string>

#include "base/error.h"

namespace doppel::block::nbd {

struct Libnbd {
  static Result<std::shared_ptr<const Libnbd>> load();

  decltype(::nbd_create)* create = nullptr;
  decltype(::nbd_close)* close = nullptr;
  decltype(::nbd_get_error)* get_error = nullptr;
  decltype(::nbd_get_errno)* get_errno = nullptr;
  decltype(::nbd_set_export_name)* set_export_name = nullptr;
  decltype(::nbd_set_full_info)* set_full_info = nullptr;
  decltype(::nbd_set_pread_initialize)* set_pread_initialize = nullptr;
  decltype(::nbd_set_uri_allow_local_file)* set_uri_allow_local_file = nullptr;
  decltype(::nbd_set_opt_mode)* set_opt_mode = nullptr;
  decltype(::nbd_set_tls)* set_tls = nullptr;
  decltype(::nbd_set_tls_certificates)* set_tls_certificates = nullptr;
  decltype(::nbd_set_tls_psk_file)* set_tls_psk_file = nullptr;
  decltype(::nbd_add_meta_context)* add_meta_context = nullptr;
  decltype(::nbd_aio_connect_uri)* aio_connect_uri = nullptr;
  decltype(::nbd_aio_connect_tcp)* aio_connect_tcp = nullptr;
  decltype(::nbd_aio_connect_unix)* aio_connect_unix = nullptr;
  decltype(::nbd_poll)* poll = nullptr;
  decltype(::nbd_aio_is_connecting)* aio_is_connecting = nullptr;
  decltype(::nbd_aio_is_ready)* aio_is_ready = nullptr;
  decltype(::nbd_aio_is_negotiating)* aio_is_negotiating = nullptr;
  decltype(::nbd_aio_is_dead)* aio_is_dead = nullptr;
  decltype(::nbd_aio_is_closed)* aio_is_closed = nullptr;
  decltype(::nbd_aio_get_fd)* aio_get_fd = nullptr;
  decltype(::nbd_aio_get_direction)* aio_get_direction = nullptr;
  decltype(::nbd_aio_notify_read)* aio_notify_read = nullptr;
  decltype(::nbd_aio_notify_write)* aio_notify_write = nullptr;
  decltype(::nbd_aio_pread)* aio_pread = nullptr;
  decltype(::nbd_aio_pwrite)* aio_pwrite = nullptr;
  decltype(::nbd_aio_flush)* aio_flush = nullptr;
  decltype(::nbd_aio_trim)* aio_trim = nullptr;
  decltype(::nbd_aio_zero)* aio_zero = nullptr;
  decltype(::nbd_aio_block_status)* aio_block_status = nullptr;
  decltype(::nbd_aio_disconnect)* aio_disconnect = nullptr;
  decltype(::nbd_is_read_only)* is_read_only = nullptr;
  decltype(::nbd_can_flush)* can_flush = nullptr;
  decltype(::nbd_can_trim)* can_trim = nullptr;
  decltype(::nbd_can_zero)* can_zero = nullptr;
  decltype(::nbd_can_meta_context)* can_meta_context = nullptr;
  decltype(::nbd_get_size)* get_size = nullptr;
  decltype(::nbd_get_block_size)* get_block_size = nullptr;
};

}  // namespace doppel::block::nbd
