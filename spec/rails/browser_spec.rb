# frozen_string_literal: true

require_relative "helper"
require_relative "accessibility"
require "puma"
require "puma/server"
require "selenium-webdriver"

# The dashboard in Chromium, under its own content security policy.
RSpec.describe "The dashboard in a browser" do
  include Accessibility

  chromium = ENV["CHROMIUM"] || "/usr/bin/chromium"
  chromedriver = ENV["CHROMEDRIVER"] || "/usr/bin/chromedriver"
  before(:context) do
    [chromium, chromedriver].each { |file| skip "needs #{file}" unless File.executable?(file) }
  end

  def driver(chromium, chromedriver)
    flags = %w[--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
               --disable-component-update --disable-sync --window-size=800,900]
    flags << "--user-data-dir=#{FOLDER}/chromium"
    options = Selenium::WebDriver::Chrome::Options.new(args: flags, binary: chromium)
    options.add_option("goog:loggingPrefs", { browser: "ALL" })
    service = Selenium::WebDriver::Service.chrome(path: chromedriver)
    Selenium::WebDriver.for(:chrome, service:, capabilities: options)
  end

  before do
    reset
    Transfer::Rails.settings.access = ->(_request) { true }
  end

  after do
    Transfer::Rails.settings.access = nil
    reset
  end

  # Threads and processes of the browser and of Puma end with the block.
  def serving(chromium, chromedriver)
    server = Puma::Server.new(Rails.application, nil, { min_threads: 1, max_threads: 3 })
    port = server.add_tcp_listener("127.0.0.1", 0).addr[1]
    server.run
    browser = driver(chromium, chromedriver)
    yield browser, "http://127.0.0.1:#{port}/transfer"
  ensure
    browser&.quit
    server&.stop(true)
  end

  # A poll may replace the element meanwhile.
  def wait(&)
    ignore = [Selenium::WebDriver::Error::NoSuchElementError, Selenium::WebDriver::Error::StaleElementReferenceError]
    Selenium::WebDriver::Wait.new(timeout: 60, ignore:).until(&)
  end

  it "labels by the keyboard, follows a training, and keeps the console empty" do
    Transfer::Testing.fake!(photos_kind: { "red" => 0.6, "blue" => 0.4 })
    labelled(count: 2).each { |one| one.prediction_for(:kind).learn_label }
    model = Transfer::Rails.model("photos_kind")
    run = model.runs.create!(recipe: "PhotoKindRecipe", status: "running", heartbeat_at: Time.current,
                             progress: { share: 0.25, title: "train" }, history: [{ loss: 2.0 }, { loss: 1.0 }])

    serving(chromium, chromedriver) do |browser, url|
      browser.navigate.to("#{url}/models/photos_kind/reviews")
      expect(browser.find_element(css: ".review img").property(:naturalWidth)).to eq(32)
      expect(browser.find_element(tag_name: "main").text).to include("4 predictions wait")
      browser.action.send_keys("1").perform
      wait { browser.find_element(tag_name: "main").text.include?("3 predictions wait") }
      expect(Transfer::Rails::Feedback.sole.label).to eq("blue")

      browser.navigate.to("#{url}/runs/#{run.id}")
      expect(browser.find_element(css: "progress").attribute("value")).to eq("0.25")
      run.update!(progress: { share: 0.75, title: "train" })
      wait { browser.find_element(css: "progress").attribute("value") == "0.75" }
      run.update!(status: "succeeded")
      wait { browser.find_elements(css: "progress, form").empty? }

      expect(browser.logs.get(:browser).map(&:message)).to be_empty
    end
  end

  it "has accessible pages" do
    Transfer::Testing.fake!(photos_kind: { "red" => 0.6, "blue" => 0.4 })
    labelled(count: 2).each { |one| one.prediction_for(:kind).learn_label }
    model = Transfer::Rails.model("photos_kind")
    held_out = model.examples.map do |one|
      { "example" => one.id, "label" => one.label, "predicted" => "red", "score" => 0.7, "loss" => 0.0 }
    end
    summary = { "backbone" => "x", "labels" => %w[blue red] }
    worse = held_out.map { |one| one.merge("predicted" => "blue", "loss" => 1) }
    model.update!(
      previous_version: model.versions.create!(number: 1, sha256: "0" * 64, held_out:, summary:),
      live_version: model.versions.create!(number: 2, sha256: "0" * 64, held_out: worse, summary:)
    )
    run = model.runs.create!(recipe: "PhotoKindRecipe", status: "running", heartbeat_at: Time.current,
                             progress: { share: 0.25, title: "train", seconds_left: 30 }, warnings: ["a warning"],
                             history: [{ loss: 2.0 }, { loss: 1.0 }])
    %w[succeeded failed cancelled interrupted].each { |status| model.runs.create!(recipe: "X", status:, error: "why") }

    serving(chromium, chromedriver) do |browser, url|
      pages = ["", "/models/photos_kind", "/models/photos_kind/versions/1", "/models/photos_kind/versions/2/compare/1",
               "/models/photos_kind/versions/2?truth=red&predicted=blue", "/models/photos_kind/reviews", "/runs",
               "/runs/#{run.id}", "/runs/#{run.id + 2}"]
      expect(pages.flat_map { |path| violations(browser, "#{url}#{path}") }).to be_empty
      expect(browser.logs.get(:browser).map(&:message)).to be_empty
      Transfer::Rails.settings.access = nil
      expect(violations(browser, url)).to be_empty
    end
  end
end
