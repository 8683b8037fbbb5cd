// Checking an image: counting who uses each cluster, and holding the image's own refcounts against that.
#pragma once

#include "block/check.h"

namespace doppel::block::qcow2 {

using block::CheckResult;
using block::Repair;

}  // namespace doppel::block::qcow2
