# frozen_string_literal: true

require "shared/errors"

RSpec.describe "Errors of the real core", :end_to_end do
  include_examples "errors"
end
