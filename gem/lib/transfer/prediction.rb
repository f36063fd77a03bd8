# frozen_string_literal: true

require_relative "tabular"
require_relative "value_object"

module Transfer
  # The prediction for one input, a frozen value per task: {Classification}, {MultiLabel},
  # {Regression}, {Detection} or {Text}.
  #
  # @example
  #   case model.predict("new.jpg", level: 0.9)
  #   in { set: [label] } then file_under(label)
  #   in { set: labels } then ask_a_person(labels)
  #   end
  module Prediction
    include ValueObject
    include Tabular

    # The class of a prediction by the field that only this class has.
    CLASSES = { "label" => :Classification, "labels" => :MultiLabel, "boxes" => :Detection, "text" => :Text,
                "value" => :Regression, "values" => :Regression }.freeze
    private_constant :CLASSES

    # @param plain [Hash{String => Object}] as the worker sends it
    # @param input [Object, nil] the input on the wire, which a prediction of boxes draws on
    # @return [Prediction]
    # @api private
    def self.parse(plain, input = nil)
      _, name = CLASSES.find { |field, _| plain.key?(field) }
      kind = const_get(name)
      fields = plain.transform_keys(&:to_sym).slice(*kind.members)
      kind == Detection ? kind.new(**fields, image: input) : kind.new(**fields)
    end

    # @api private
    def initialize(**fields)
      super(**Ractor.make_shareable(fields))
    end

    # @return [Boolean] true; false of a {BadInput}
    def ok? = true

    # @return [Boolean] false; true of a {BadInput}
    def failed? = false

    # @return [Boolean] whether the input is unlike the training examples: of inputs like these, 5 % are unknown
    def unknown? = respond_to?(:unknown) && unknown == true

    # @return [nil] the error of a {BadInput}
    def error = nil

    # @return [Hash{Symbol => Object}] the attributes that are not nil
    def to_h = super.compact

    def inspect = "#<#{Prediction} #{summary}>"
  end
end

require_relative "prediction/classification"
require_relative "prediction/multi_label"
require_relative "prediction/regression"
require_relative "prediction/detection"
require_relative "prediction/text"
