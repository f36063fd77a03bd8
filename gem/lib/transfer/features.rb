# frozen_string_literal: true

require_relative "shown"
require_relative "value_object"

module Transfer
  # The result of {Model#features}: the most active channels of a block for one image.
  class Features
    include ValueObject
    include Shown

    # @return [String] the block
    attr_reader :block
    # @return [Array<Integer>] indices of the channels, the most active first
    attr_reader :channels
    # @return [Tensor] float32 (channels, height, width)
    attr_reader :maps
    # @return [String] a grid of the maps as PNG
    attr_reader :overlay
    # @return [String] a fragment of HTML
    attr_reader :to_html

    # @param plain [Hash{String => Object}] as the worker sends it
    # @api private
    def initialize(plain)
      @block, @channels, @maps, @overlay, @to_html = plain.values_at("block", "channels", "maps", "overlay", "html")
      freeze
    end

    # @return [Hash{Symbol => Object}] without the picture; the maps as nested Arrays
    def to_h = { block:, channels:, maps: maps.to_a }

    def inspect = "#<#{self.class} #{maps.shape.join('x')} of #{block}>"
  end

  # The result of {Model#attention}: attention weights of a transformer for one input of L tokens.
  class AttentionMaps
    include ValueObject
    include Shown

    # @return [Tensor] float32 (layers, heads, L, L): the attention of each head from a token (row) to the others
    attr_reader :heads
    # @return [Tensor] float32 (L, L): the attention multiplied through all layers
    attr_reader :rolled_out
    # @return [Array<String>, nil] names of the tokens of a text, empty for special ones; nil of an image, whose last
    #   tokens are its square of patches by rows
    attr_reader :tokens
    # @return [String] of an image the rollout of its first token and the heads of the last layer, of a text the matrix
    #   of the rollout, as PNG
    attr_reader :overlay
    # @return [String] a fragment of HTML
    attr_reader :to_html

    # @param plain [Hash{String => Object}] as the worker sends it
    # @api private
    def initialize(plain)
      @heads, @rolled_out, @tokens, @overlay, @to_html =
        plain.values_at("heads", "rolled_out", "tokens", "overlay", "html")
      freeze
    end

    # @return [Hash{Symbol => Object}] without the picture; tensors as nested Arrays
    def to_h = { heads: heads.to_a, rolled_out: rolled_out.to_a, tokens: }

    def inspect = "#<#{self.class} #{heads.shape.join('x')}>"
  end
end
