# frozen_string_literal: true

require_relative "rails/errors"
require_relative "rails/settings"

module Transfer
  # Models, predictions and labels of a Rails application (docs/guides/rails.md).
  module Rails
    autoload :HasPrediction, "#{__dir__}/rails/has_prediction"
    autoload :Reviewing, "#{__dir__}/rails/reviewing"
    autoload :PredictionFor, "#{__dir__}/rails/prediction_for"
    autoload :PredictedInput, "#{__dir__}/rails/predicted_input"
    autoload :LiveModels, "#{__dir__}/rails/live_models"
    autoload :VersionFiles, "#{__dir__}/rails/version_files"
    autoload :Checkpoint, "#{__dir__}/rails/checkpoint"
    autoload :Training, "#{__dir__}/rails/training"
    autoload :HeldOut, "#{__dir__}/rails/held_out"
    autoload :PairedDifference, "#{__dir__}/rails/paired_difference"
    autoload :Uses, "#{__dir__}/rails/uses"
    autoload :PredictMany, "#{__dir__}/rails/predict_many"
    autoload :Doctor, "#{__dir__}/rails/doctor"
    autoload :Shutdown, "#{__dir__}/rails/shutdown"

    class << self
      # Of the tables of the engine.
      def table_name_prefix = "transfer_"

      # @return [Settings] `config.transfer` of the application
      def settings = @settings ||= Settings.new

      # The model that `has_prediction` and the dashboard know by a name, created on first use.
      # @param name [String, Symbol]
      # @return [Rails::Model]
      def model(name) = Model.named(name)
    end
  end
end
