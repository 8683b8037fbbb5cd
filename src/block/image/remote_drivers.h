// Drivers of nodes whose data lies on a server: nbd, http, https.
#pragma once

#include <span>

#include "block/image/drivers.h"

namespace doppel::block {

std::span<const Driver> remote_drivers();

}  // namespace doppel::block
