# frozen_string_literal: true

require_relative "helper"
require "rack/test"

RSpec.describe "The dashboard" do
  include Rack::Test::Methods

  before { reset }

  after do
    Transfer::Rails.settings.access = Transfer::Rails.settings.password = nil
    reset
  end

  def app = Rails.application
  def open_it = Transfer::Rails.settings.access = ->(_request) { true }
  def page(path) = get("/transfer#{path}") && last_response

  let(:model) { Transfer::Rails.model("photos_kind") }

  def version(number: 1)
    held_out = model.examples.map do |one|
      { "example" => one.id, "label" => one.label, "score" => 0.7,
        "predicted" => number == 1 ? "red" : "blue", "loss" => one.label == "red" ? 0.0 : 1.0 }
    end
    model.versions.create!(number:, sha256: "0" * 64, held_out:,
                           summary: { "backbone" => "x", "labels" => %w[blue red] })
  end

  def examples
    Transfer::Testing.fake!(photos_kind: { "red" => 0.6, "blue" => 0.4 })
    labelled(count: 1).each { |one| one.prediction_for(:kind).learn_label }
  end

  it "is closed until the application opens it" do
    %w[/ /runs /models/x /models/x/reviews].each { |path| expect(page(path).status).to eq(401) }
    post "/transfer/models/x/train"
    expect(last_response.status).to be_in([401, 422])

    Transfer::Rails.settings.password = "secret"
    expect(page("/").headers["WWW-Authenticate"]).to start_with("Basic")
    basic_authorize("transfer", "wrong")
    expect(page("/").status).to eq(401)
    basic_authorize("transfer", "secret")
    expect(page("/").status).to eq(200)

    Transfer::Rails.settings.access = ->(request) { request.params["token"] == "t" }
    expect(page("/").status).to eq(401)
    expect(page("/?token=t").status).to eq(200)
  end

  it "shows models, versions, comparisons, trainings and the labelling queue" do
    open_it
    examples
    model.update!(previous_version: version, live_version: version(number: 2))
    run = model.runs.create!(recipe: "PhotoKindRecipe", status: "running", heartbeat_at: Time.current,
                             progress: { share: 0.4, title: "train", seconds_left: 30 },
                             history: [{ loss: 1.0 }, { loss: 0.5 }])
    ["", "/models/photos_kind", "/models/photos_kind/versions/1", "/models/photos_kind/versions/2/compare/1", "/runs",
     "/runs/#{run.id}", "/models/photos_kind/reviews"].each do |path|
      expect(page(path).status).to eq(200), "#{path}: #{last_response.body[0, 300]}"
      policy = last_response.headers["Content-Security-Policy"]
      expect(policy).to include("default-src 'none'", "script-src 'self'", "style-src 'self'")
      expect(last_response.body).not_to match(/ style=|<style|<script>|javascript:| on[a-z]+=/)
      expect(last_response.body).not_to include("translation missing", "Translation missing")
    end
    expect(page("/runs/#{run.id}").body).to include("40.0 %", "about 1 minute left", "polyline")
    expect(page("/models/nothing").status).to eq(404)
  end

  it "asks first for novel inputs, then for uncertain ones" do
    open_it
    model
    records = { 0.6 => 0.3, 0.7 => 0.97, 0.5 => 0.94 }.map do |score, novelty|
      Transfer::Testing.fake!(photos_kind: { "red" => score, "blue" => 1 - score })
      photo("red").tap { |one| one.reload.kind_prediction.update!(novelty:) }
    end
    queue = records.size.times.map do
      id = page("/models/photos_kind/reviews").body[%r{pictures/p(\d+)}, 1].to_i
      Transfer::Rails::Prediction.find(id).tap { |one| one.update!(state: "accepted") }.record
    end
    expect(queue).to eq(records.values_at(1, 2, 0))
    Transfer::Rails::Prediction.update_all(state: "abstained")
    expect(Photo.needs_review(:kind).most_novel).to eq(records.values_at(1, 2, 0))
  end

  it "has the pictures of a cell of the confusion matrix" do
    open_it
    examples
    version
    pictures = lambda do |query|
      page("/models/photos_kind/versions/1#{query}").body.scan(%r{pictures/e(\d+)}).flatten.map(&:to_i)
    end
    right, wrong = model.examples.partition { |one| one.label == "red" }.map { |some| some.map(&:id) }
    expect(pictures.call("")).to eq(wrong)
    expect(pictures.call("?truth=red&predicted=red")).to eq(right)
    expect(pictures.call("?truth=blue&predicted=blue")).to be_empty
  end

  it "serves the report of a version without scripts" do
    open_it
    expect(page("/models/photos_kind/versions/#{version.number}/report").status).to eq(404)
    content = "<style>p { color: red }</style><script>alert(1)</script>"
    model.versions.last.report.attach(io: StringIO.new(content), filename: "report.html", content_type: "text/html")
    expect(page("/models/photos_kind/versions/1").body).to include("/versions/1/report")
    report = page("/models/photos_kind/versions/1/report")
    expect(report.body).to eq(content)
    expect(report.headers["Content-Security-Policy"]).to match(/\Adefault-src 'none'; .*; sandbox\z/)
    expect(report.headers)
      .to include("Content-Type" => "text/html; charset=utf-8", "X-Content-Type-Options" => "nosniff")
    Transfer::Rails.settings.access = nil
    expect(page("/models/photos_kind/versions/1/report").status).to eq(401)
  end

  it "asks for the state of a training by its ETag" do
    open_it
    run = model.runs.create!(recipe: "PhotoKindRecipe", status: "running", heartbeat_at: Time.current)
    etag = page("/runs/#{run.id}/state").headers["ETag"]
    get "/transfer/runs/#{run.id}/state", {}, { "HTTP_IF_NONE_MATCH" => etag }
    expect(last_response.status).to eq(304)
    Transfer::Rails::Run.where(id: run.id).update_all(progress: { share: 0.5 }, updated_at: 1.minute.from_now)
    get "/transfer/runs/#{run.id}/state", {}, { "HTTP_IF_NONE_MATCH" => etag }
    expect(last_response.status).to eq(200)
  end

  it "escapes labels and messages" do
    open_it
    examples
    hostile = %(<img src=x onerror="alert(1)">)
    model.examples.first.update!(label: hostile)
    version
    model.runs.create!(recipe: "PhotoKindRecipe", status: "failed", error: hostile, warnings: [hostile])
    ["/models/photos_kind", "/models/photos_kind/versions/1", "/runs/#{model.runs.first.id}",
     "/models/photos_kind/reviews"].each do |path|
      expect(page(path).body).not_to include("<img src=x")
    end
  end

  it "serves pictures of the model's records alone" do
    open_it
    examples
    example = model.examples.first
    picture = page("/models/photos_kind/pictures/e#{example.id}")
    expect(picture.headers).to include("Content-Type" => "image/png", "X-Content-Type-Options" => "nosniff")
    expect(picture.body).to eq(example.record.file.download)
    %w[e999 p999 x1 1].each { |id| expect(page("/models/photos_kind/pictures/#{id}").status).to eq(404) }
    Transfer::Rails.model("other")
    expect(page("/models/other/pictures/e#{example.id}").status).to eq(404)
    record = photo("red", name: "page.svg")
    record.file.blob.update!(content_type: "image/svg+xml")
    expect(page("/models/photos_kind/pictures/p#{record.reload.kind_prediction.id}").status).to eq(404)
  end

  it "starts trainings by the recipes of the application alone, and with a token" do
    open_it
    examples
    ActiveJob::Base.queue_adapter = :test
    post "/transfer/models/photos_kind/train", { recipe: "PhotoKindRecipe" }
    expect(last_response.status).to eq(422).or eq(403) # no CSRF token
    Transfer::Rails::BaseController.allow_forgery_protection = false
    post "/transfer/models/photos_kind/train", { recipe: "SlowRecipe" }
    expect([last_response.status, model.runs.count]).to eq([422, 0])
    post "/transfer/models/photos_kind/train", { recipe: "PhotoKindRecipe" }
    expect([last_response.status, model.runs.count]).to eq([302, 1])

    prediction = Photo.last.kind_prediction
    patch "/transfer/models/photos_kind/reviews/#{prediction.id}", { label: "green" }
    expect(Photo.last.kind).to eq("green")
    patch "/transfer/models/photos_kind/reviews/#{Transfer::Rails::Prediction.maximum(:id) + 1}", { label: "green" }
    expect(last_response.status).to eq(404)
  ensure
    Transfer::Rails::BaseController.allow_forgery_protection = true
    ActiveJob::Base.queue_adapter = :inline
  end

  it "reads a page of many trainings with a fixed number of queries" do
    open_it
    rows = Array.new(300) { { model_id: model.id, recipe: "X", status: "succeeded" } }
    Transfer::Rails::Run.insert_all!(rows)
    queries = 0
    subscriber = ActiveSupport::Notifications.subscribe("sql.active_record") { queries += 1 }
    expect(page("/runs").body.scan("<tr>").size).to eq(51)
    expect(queries).to be < 10
    expect(page(last_response.body[/before=\d+/].prepend("/runs?")).body.scan("<tr>").size).to eq(51)
  ensure
    ActiveSupport::Notifications.unsubscribe(subscriber)
  end
end
