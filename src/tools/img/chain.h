// What a whole chain of images has at some offset, by the names that the commands use.
#pragma once

#include "block/chain_status.h"

namespace doppel::img {

using block::chain_status;
using block::ChainStatus;

}  // namespace doppel::img
