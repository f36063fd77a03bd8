# frozen_string_literal: true

require_relative "tabular"

module Transfer
  # Metrics of a model: a Hash that notebooks show as tables.
  class Metrics < Hash
    include Tabular
  end
end
