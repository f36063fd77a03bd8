# frozen_string_literal: true

# Estimate the risk that a tumour is malignant from 30 measurements of its cells: calibrated probabilities, a threshold
# for few missed tumours, and prediction sets at 95 % coverage. docs/guides/fields/medicine.md explains it.
#
#   ruby -I gem/lib examples/medicine.rb

require "csv"
require "tmpdir"
require "transfer"

THRESHOLD = 0.1 # refer to a doctor from this risk on: a missed tumour is worse than a needless visit

def row(csv_row) = csv_row.to_h.except("diagnosis", "split")

Dir.mktmpdir do |folder|
  file = "#{folder}/tumours.csv"
  system(*Transfer::Python.command, "#{__dir__}/breast_cancer.py", file) || abort("breast_cancer.py failed")

  model = Transfer.train(backbone: "sklearn:ColumnTransformer", data: file, columns: { target: "diagnosis" }, seed: 0)

  low, high = model.metrics[:intervals][:accuracy]
  puts format("%<examples>d held-out patients: accuracy %<accuracy>.3f", model.metrics.slice(:examples, :accuracy)) +
       format(" (95 %% interval %.3f to %.3f), baseline %.3f", low, high, model.metrics[:baseline][:accuracy])
  puts format("calibration error %<ece>.3f, log loss %<log_loss>.3f", model.metrics.slice(:ece, :log_loss))

  patients = CSV.read(file, headers: true).select { |patient| patient["split"] == "test" }
  predictions = model.predict(patients.map { |patient| row(patient) }, level: 0.95)
  sick, healthy = patients.zip(predictions).partition { |patient, _| patient["diagnosis"] == "malignant" }
  found = sick.count { |_, prediction| prediction.scores["malignant"] >= THRESHOLD }
  alarms = healthy.count { |_, prediction| prediction.scores["malignant"] >= THRESHOLD }
  puts "referred from a risk of #{THRESHOLD}: #{found} of #{sick.size} malignant, #{alarms} of #{healthy.size} benign"

  covered = patients.zip(predictions).count { |patient, prediction| prediction.set.include?(patient["diagnosis"]) }
  undecided = predictions.count { |prediction| prediction.set.size != 1 }
  puts "sets at 0.95 contain the diagnosis for #{covered} of #{patients.size}; #{undecided} are undecided"
end
