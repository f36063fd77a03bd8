# frozen_string_literal: true

require "pycall/helper"
require "shared/training"
require "shared/errors"
require "shared/resume"

RSpec.describe "Transfer over PyCall", :end_to_end do
  include_examples "training and what comes of it"
end

RSpec.describe "Errors over PyCall", :end_to_end do
  include_examples "errors"
end

RSpec.describe "A training that ends too early, over PyCall", :end_to_end do
  include_examples "a training that ends too early"
end
