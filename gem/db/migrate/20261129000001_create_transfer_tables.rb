# frozen_string_literal: true

# Models with their versions and trainings, labelled examples, and predictions with corrections.
class CreateTransferTables < ActiveRecord::Migration[7.2]
  def change
    create_models
    create_versions
    create_runs
    create_examples
    create_predictions
    create_feedback
  end

  private

  # The type of the application's own keys, such as :uuid.
  def key = Rails.configuration.generators.options.dig(:active_record, :primary_key_type) || :bigint

  def create_models
    create_table :transfer_models do |t|
      t.string :name, null: false, index: { unique: true }
      t.bigint :live_version_id
      t.bigint :previous_version_id
      t.datetime :divided_at
      t.timestamps
    end
  end

  def create_versions
    create_table :transfer_versions do |t|
      t.references :model, null: false, foreign_key: { to_table: :transfer_models }
      t.integer :number, null: false
      t.string :sha256, null: false
      t.json :summary
      t.json :held_out
      t.datetime :promoted_at
      t.timestamps
      t.index %i[model_id number], unique: true
    end
  end

  def create_runs
    create_table :transfer_runs do |t|
      t.references :model, null: false, foreign_key: { to_table: :transfer_models }
      t.references :version, foreign_key: { to_table: :transfer_versions }
      t.string :recipe, null: false
      t.string :status, null: false, index: true
      t.string :core_run
      t.json :examples
      t.json :progress
      t.json :history
      t.json :warnings
      t.string :checkpoint_sha256
      t.text :error
      t.boolean :cancel_requested, null: false, default: false
      t.datetime :heartbeat_at
      t.datetime :started_at
      t.datetime :finished_at
      t.timestamps
      t.index :created_at
    end
  end

  def create_examples
    create_table :transfer_examples do |t|
      t.references :model, null: false, foreign_key: { to_table: :transfer_models }
      t.references :record, polymorphic: true, null: false, type: key
      t.string :label, null: false
      t.string :proposed_label
      t.string :digest, null: false
      t.string :split
      t.timestamps
      t.index %i[model_id record_type record_id], unique: true, name: "index_transfer_examples_on_record_of_model"
      t.index %i[model_id split]
    end
  end

  def create_predictions
    create_table :transfer_predictions do |t|
      t.references :record, polymorphic: true, null: false, type: key, index: false
      t.string :name, null: false
      t.references :version, foreign_key: { to_table: :transfer_versions }
      t.string :state, null: false
      t.string :digest
      t.string :label
      t.float :score
      t.float :novelty
      t.string :corrected_label
      t.json :output
      t.text :error
      t.timestamps
      t.index %i[record_type record_id name], unique: true, name: "index_transfer_predictions_on_record_and_name"
      t.index %i[record_type name state score], name: "index_transfer_predictions_on_state"
    end
  end

  def create_feedback
    create_table :transfer_feedback do |t|
      t.references :prediction, null: false, foreign_key: { to_table: :transfer_predictions }
      t.references :user, polymorphic: true, type: key
      t.string :predicted
      t.string :label, null: false
      t.datetime :created_at, null: false
    end
  end
end
